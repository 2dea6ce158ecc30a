/* bench.c: the stack under test, and what is around it.
 * SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "chaos.h"
#include "clock.h"
#include "flow.h"

#define NEAR "10.77.0.1/30" /* our end of the cable */
#define FAR "10.77.0.2"
#define DISK "size=24m"
#define START_WAIT 15000 /* ms */
#define SERVICES 6
#define SPARE_FILES 2 /* that a process may still open */

static const char *const services[SERVICES] = {
	"auth", "stuff", "orders", "expiration", "payments", "storefront"};

static char folder[] = "/tmp/chaos.XXXXXX";
static bool root;
static pid_t owner;
static int far_net = -1; /* the other network */

bool
bench_is_root(void)
{
	return root;
}

/* Runs a command; with net in that network.  False when it fails. */
static bool
run(int net, const char *const *argv)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO);
		if (net >= 0 && setns(net, CLONE_NEWNET) != 0)
			_exit(127);
		execvp(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	while (waitpid(pid, &status, 0) == -1 && errno == EINTR)
		;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

#define RUN(net, ...) run(net, (const char *[]){__VA_ARGS__, NULL})

/* --- namespaces ---------------------------------------------------------- */

static bool
lay_cable(void)
{
	char far[64];
	int near;

	/* In a chroot, / is no mount of its own: it is as private as who made
	 * it has it. */
	if (unshare(CLONE_NEWNET | CLONE_NEWNS) != 0 ||
	    (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 &&
	     errno != EINVAL))
		return false;
	near = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (unshare(CLONE_NEWNET) != 0)
		return false;
	far_net = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (setns(near, CLONE_NEWNET) != 0)
		return false;
	close(near);
	snprintf(far, sizeof(far), "/proc/%d/fd/%d", (int)getpid(), far_net);
	return RUN(-1, "ip", "link", "set", "lo", "up") &&
	       RUN(-1, "ip", "link", "add", "near", "type", "veth", "peer",
		   "name", "far", "netns", far) &&
	       RUN(-1, "ip", "addr", "add", NEAR, "dev", "near") &&
	       RUN(-1, "ip", "link", "set", "near", "up") &&
	       RUN(far_net, "ip", "link", "set", "lo", "up") &&
	       RUN(far_net, "ip", "addr", "add", FAR "/30", "dev", "far") &&
	       RUN(far_net, "ip", "link", "set", "far", "up");
}

/* Two networks with a cable between them, and a view of our own on the file
 * systems: all of it is gone with the last process in it.  Where that can't be
 * had, all is as it was. */
static bool
make_namespaces(void)
{
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	bool made = lay_cable();

	if (!made)
		setns(home, CLONE_NEWNET);
	close(home);
	return made;
}

/* At the far end: packets vanish, and nobody is told. */
void
bench_cut(bool cut)
{
	CU_ASSERT(
		RUN(far_net, "ip", "link", "set", "far", cut ? "down" : "up"));
}

/* --- disks --------------------------------------------------------------- */

static const char *
disk_of(const char *name)
{
	static char path[256];

	if (strcmp(name, "nginx") == 0)
		snprintf(path, sizeof(path), "%s/nginx", stack("DEV_STATE"));
	else
		snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static bool
make_disk(const char *name)
{
	const char *path = disk_of(name);

	mkdir(path, 0700);
	return !root || mount("chaos", path, "tmpfs", 0, DISK) == 0;
}

bool
bench_fill(const char *name, bool full)
{
	static const char block[65536];
	char path[300];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/filler", disk_of(name));
	if (!full)
		return unlink(path) == 0;
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	for (size_t size = sizeof(block); fd >= 0 && size > 0;) {
		n = write(fd, block, size);
		if (n <= 0)
			size /= 2;
	}
	n = errno;
	close(fd);
	return n == ENOSPC;
}

/* --- servers of our own -------------------------------------------------- */

static struct server {
	const char *name;
	int port, monitor;
	pid_t pid;
} servers[] = {{.name = "nats"}, {.name = "redis"}};
#define SERVERS (sizeof(servers) / sizeof(servers[0]))

static struct server *
server_named(const char *name)
{
	for (size_t i = 0; i < SERVERS; i++)
		if (strcmp(servers[i].name, name) == 0)
			return &servers[i];
	return NULL;
}

static const char *
host(void)
{
	return root ? FAR : "127.0.0.1";
}

static int
free_port(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 ||
	    getsockname(fd, (struct sockaddr *)&a, &len) != 0)
		abort();
	close(fd);
	return ntohs(a.sin_port);
}

static bool
listens(void *arg)
{
	const struct server *s = arg;
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons((uint16_t)s->port)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	bool there;

	inet_pton(AF_INET, host(), &a.sin_addr);
	there = connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
	close(fd);
	return there;
}

static void
exec_server(const struct server *s)
{
	char *program =
		text("%s/bin/nats-streaming-server", getenv("DEV_TOOLS"));
	char *port = text("%d", s->port), *monitor = text("%d", s->monitor);
	const char *dir = disk_of(s->name);
	char *log = text("%s/%s.log", folder, s->name);
	int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);

	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	setsid();
	if (root && setns(far_net, CLONE_NEWNET) != 0)
		_exit(127);
	if (strcmp(s->name, "nats") == 0)
		execl(program, program, "-cid", "marketplace", "-a", host(),
		      "-p", port, "-m", monitor, "-st", "FILE", "-dir", dir,
		      "-mm", "0", "-mb", "0", "-ma", "168h", "-mc", "0", "-msu",
		      "0", "-hbi", "5s", "-hbt", "2s", "-hbf", "2", NULL);
	execlp("redis-server", "redis-server", "--bind", host(), "--port", port,
	       "--protected-mode", "no", "--dir", dir, "--save", "",
	       "--appendonly", "yes", "--appendfsync", "everysec",
	       "--maxmemory-policy", "noeviction", NULL);
	_exit(127);
}

bool
bench_flush(void)
{
	char *port = text("%d", servers[1].port);
	bool ok = RUN(-1, "redis-cli", "-h", host(), "-p", port, "FLUSHALL");

	free(port);
	return ok;
}

/* Starts it anew when it has died of what was done to it. */
static bool
server_start(struct server *s)
{
	if (s->pid > 0 && waitpid(s->pid, NULL, WNOHANG) == 0)
		return true;
	s->pid = fork();
	if (s->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		exec_server(s);
	}
	return eventually(START_WAIT, listens, s);
}

static bool
server_signal(struct server *s, int number)
{
	if (kill(s->pid, number) != 0)
		return false;
	if (number == SIGKILL || number == SIGTERM) {
		waitpid(s->pid, NULL, 0);
		s->pid = 0;
	}
	return true;
}

/* --- all others are dev's ------------------------------------------------ */

static int
number_of(const char *signal)
{
	return strcmp(signal, "KILL") == 0   ? SIGKILL
	       : strcmp(signal, "STOP") == 0 ? SIGSTOP
	       : strcmp(signal, "CONT") == 0 ? SIGCONT
					     : SIGTERM;
}

bool
bench_signal(const char *name, const char *signal)
{
	struct server *s = server_named(name);

	return s ? server_signal(s, number_of(signal))
		 : stack_dev(NULL,
			     (const char *[]){"kill", name, signal, NULL}) == 0;
}

bool
bench_start(const char *name)
{
	struct server *s = server_named(name);

	return s ? server_start(s)
		 : stack_dev(NULL, (const char *[]){"start", name, NULL}) == 0;
}

int
bench_pid(const char *name)
{
	struct server *s = server_named(name);

	return s ? s->pid : stack_pid(name);
}

/* --- file descriptors ---------------------------------------------------- */

static rlim_t
open_files(int pid)
{
	char path[64];
	rlim_t n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	d = opendir(path);
	while (d != NULL && readdir(d) != NULL)
		n++;
	if (d != NULL)
		closedir(d);
	return n; /* two too many, . and .. */
}

void
bench_files(const char *name, bool few)
{
	int pid = bench_pid(name);
	struct rlimit limit;

	CU_ASSERT(prlimit(pid, RLIMIT_NOFILE, NULL, &limit) == 0);
	limit.rlim_cur =
		few ? open_files(pid) - 2 + SPARE_FILES : limit.rlim_max;
	CU_ASSERT(prlimit(pid, RLIMIT_NOFILE, &limit, NULL) == 0);
}

/* --- clocks -------------------------------------------------------------- */

static _Atomic int64_t *clocks[SERVICES];

static void
make_clocks(void)
{
	char *dir = text("%s/clocks", folder);

	mkdir(dir, 0700);
	setenv("CLOCK_JUMP", dir, 1);
	for (int i = 0; i < SERVICES; i++) {
		char *path = text("%s/%s", dir, services[i]);
		int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

		if (ftruncate(fd, sizeof(int64_t)) != 0)
			abort();
		clocks[i] = mmap(NULL, sizeof(int64_t), PROT_READ | PROT_WRITE,
				 MAP_SHARED, fd, 0);
		if (clocks[i] == MAP_FAILED)
			abort();
		close(fd);
		free(path);
	}
	free(dir);
}

void
bench_clock(const char *service, int64_t ms)
{
	for (int i = 0; i < SERVICES; i++)
		if (strcmp(services[i], service) == 0 ||
		    strcmp(service, "all") == 0)
			*clocks[i] = ms;
}

/* --- one more of a kind -------------------------------------------------- */

static pid_t twin;

void
bench_twin(const char *service)
{
	char *name = text("%s-2", service);
	char *socket = text("%s/%s.sock", stack("RUN_DIR"), name);
	char *dev = text("%s/dev", getenv("top_srcdir"));

	twin = fork();
	if (twin == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		char *log = text("%s/log/%s.log", stack("DEV_STATE"), name);
		int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);

		dup2(fd, STDOUT_FILENO);
		dup2(fd, STDERR_FILENO);
		setenv("FCGI_SOCKET", socket, 1);
		setenv("NATS_CLIENT_ID", name, 1);
		execl(dev, dev, "run", service, NULL);
		_exit(127);
	}
	free(name);
	free(socket);
	free(dev);
}

void
bench_twin_end(const char *service, int signal)
{
	char *socket = text("%s/%s-2.sock", stack("RUN_DIR"), service);

	kill(twin, signal);
	waitpid(twin, NULL, 0);
	unlink(socket);
	free(socket);
}

/* --- all ----------------------------------------------------------------- */

static void
bench_down(void)
{
	if (getpid() != owner)
		return;
	for (size_t i = 0; i < SERVERS; i++)
		if (servers[i].pid > 0)
			kill(servers[i].pid, SIGKILL);
	for (size_t i = 0; i < SERVERS; i++)
		if (servers[i].pid > 0)
			waitpid(servers[i].pid, NULL, 0);
	for (size_t i = 0; root && i < SERVERS; i++)
		umount2(disk_of(servers[i].name), MNT_DETACH);
	if (getenv("T_KEEP") != NULL)
		tap_note("kept: %s", folder);
	else if (!RUN(-1, "rm", "-rf", "--one-file-system", folder))
		tap_note("%s is left", folder);
}

/* Else the mount point would outlive the stack's folder. */
static void
detach_nginx(void)
{
	if (getpid() == owner && root)
		umount2(disk_of("nginx"), MNT_DETACH);
}

/* nginx has a small disk from here on. */
static bool
shrink_nginx(void)
{
	return !root || (bench_signal("nginx", "KILL") && make_disk("nginx") &&
			 bench_start("nginx"));
}

void
bench_up(int window)
{
	char *nats, *redis, *hold;

	if (getenv("DEV_TOOLS") == NULL)
		tap_skip_all("the servers are not there: DEV_TOOLS");
	owner = getpid();
	if (mkdtemp(folder) == NULL)
		abort();
	root = geteuid() == 0 && make_namespaces();
	make_clocks();
	/* Before stack_up(): what is registered first ends last. */
	atexit(bench_down);
	for (size_t i = 0; i < SERVERS; i++) {
		servers[i].port = free_port();
		servers[i].monitor = free_port();
		if (!make_disk(servers[i].name) || !server_start(&servers[i])) {
			printf("Bail out! %s does not start\n",
			       servers[i].name);
			exit(1);
		}
	}
	nats = text("NATS_URL=nats://%s:%d", host(), servers[0].port);
	redis = text("REDIS_URL=redis://%s:%d", host(), servers[1].port);
	hold = text("EXPIRATION_WINDOW_SECONDS=%d", window);
	stack_up((const char *[]){nats, redis, "DEV_MONGO=h2", hold,
				  "FILE_MAX_BYTES=4194304", NULL});
	atexit(detach_nginx);
	if (!shrink_nginx()) {
		printf("Bail out! nginx does not start on a small disk\n");
		exit(1);
	}
}
