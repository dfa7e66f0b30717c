#include <stdio.h>

#include "greet.h"

int greet(const char *whom)
{
	return printf("hello, %s\n", whom) < 0;
}
