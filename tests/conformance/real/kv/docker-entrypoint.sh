#!/bin/sh
set -e

# the server gives up root before anything else
if [ "$1" = kv ] && [ "$2" = serve ] && [ "$(id -u)" = 0 ]; then
	find . \! -user kv -exec chown kv '{}' +
	exec gosu kv "$@"
fi
exec "$@"
