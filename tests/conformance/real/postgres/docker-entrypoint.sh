#!/usr/bin/env bash
set -Eeo pipefail

# starts again as the owner of the data
if [ "$(id -u)" = 0 ]; then
	exec gosu postgres "${BASH_SOURCE[0]}" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
	initdb --username=postgres --no-sync > /dev/null
	pg_ctl -D "$PGDATA" -o "-c listen_addresses='' -c fsync=off" -w start > /dev/null
	for file in /docker-entrypoint-initdb.d/*.sql; do
		psql -v ON_ERROR_STOP=1 -q -f "$file"
	done
	if [ "$1" != postgres ]; then
		"$@"
	fi
	pg_ctl -D "$PGDATA" -m fast -w stop > /dev/null
fi
if [ "$1" = postgres ]; then
	exec "$@"
fi
