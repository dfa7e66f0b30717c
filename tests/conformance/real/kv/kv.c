/* A store of names and values behind a socket: `kv serve`, `kv ask 'set NAME VALUE'`, `kv ask 'get NAME'`. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define PLACES 64

static char names[PLACES][32], values[PLACES][64];
static int used;
static volatile sig_atomic_t ending;

static void end(int signal)
{
	(void)signal;
	ending = 1;
}

static int endpoint(struct sockaddr_un *address)
{
	memset(address, 0, sizeof *address);
	address->sun_family = AF_UNIX;
	strcpy(address->sun_path, "/data/kv.sock");
	return socket(AF_UNIX, SOCK_STREAM, 0);
}

static const char *answer(const char *question)
{
	char name[32], value[64];
	int i;

	if (sscanf(question, "set %31s %63s", name, value) == 2) {
		for (i = 0; i < used && strcmp(names[i], name); i++)
			;
		if (i == PLACES)
			return "full";
		strcpy(names[i], name);
		strcpy(values[i], value);
		used += i == used;
		return "ok";
	}
	if (sscanf(question, "get %31s", name) == 1)
		for (i = 0; i < used; i++)
			if (!strcmp(names[i], name))
				return values[i];
	return "?";
}

static int serve(void)
{
	struct sigaction action = { .sa_handler = end };
	struct sockaddr_un address;
	char question[128];
	int listener = endpoint(&address), client, length, i;
	FILE *kept;

	sigaction(SIGTERM, &action, NULL);
	unlink(address.sun_path);
	if (bind(listener, (void *)&address, sizeof address) || chmod(address.sun_path, 0777) || listen(listener, 5))
		return perror("listen"), 1;
	while (!ending) {
		client = accept(listener, NULL, NULL);
		if (client < 0)
			continue;
		length = read(client, question, sizeof question - 1);
		question[length > 0 ? length : 0] = 0;
		dprintf(client, "%s\n", answer(question));
		close(client);
	}
	unlink(address.sun_path);
	kept = fopen("/data/kv.db", "w");
	for (i = 0; kept && i < used; i++)
		fprintf(kept, "%s %s\n", names[i], values[i]);
	return !kept || fclose(kept);
}

static int ask(const char *question)
{
	struct sockaddr_un address;
	char text[128];
	int server = endpoint(&address), length;

	if (connect(server, (void *)&address, sizeof address))
		return perror("connect"), 1;
	dprintf(server, "%s", question);
	length = read(server, text, sizeof text);
	return length <= 0 || write(1, text, length) != length;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "serve"))
		return serve();
	if (argc == 3 && !strcmp(argv[1], "ask"))
		return ask(argv[2]);
	fputs("usage: kv serve | kv ask QUESTION\n", stderr);
	return 2;
}
