#include <stdio.h>
#include <string.h>

#include "greet.h"

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		puts("hello version " VERSION);
		return 0;
	}
	return greet(argc > 1 ? argv[1] : "nobody");
}
