import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.backend.memory.MemoryBackend;
import java.net.InetSocketAddress;

/** A database that speaks MongoDB's protocol on 127.0.0.1. Arguments: the port and, to keep the data, the file to keep it in. */
public class MongoServer {
    public static void main(String[] args) {
        var backend = args.length > 1 ? new H2Backend(args[1]) : new MemoryBackend();
        var server = new de.bwaldvogel.mongo.MongoServer(backend);
        // SIGTERM runs the hook; closing the backend writes what H2 still holds in memory.
        Runtime.getRuntime().addShutdownHook(new Thread(server::shutdownNow));
        // One thread for all clients: of several, while one writes an answer, another may change the document that it is made of,
        // and the first client's connection is dropped.
        server.bind(new InetSocketAddress("127.0.0.1", Integer.parseInt(args[0])), 1, Integer.getInteger("threads", 1));
    }
}
