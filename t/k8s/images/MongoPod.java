import de.bwaldvogel.mongo.backend.h2.H2Backend;

/** As t/servers/MongoServer.java, for a pod: listens on all its addresses. Arguments: the port and the file to keep the data in. */
public class MongoPod {
    public static void main(String[] args) {
        var server = new de.bwaldvogel.mongo.MongoServer(new H2Backend(args[1]));
        // SIGTERM runs the hook; closing the backend writes what H2 still holds in memory.
        Runtime.getRuntime().addShutdownHook(new Thread(server::shutdownNow));
        server.bind("0.0.0.0", Integer.parseInt(args[0]));
    }
}
