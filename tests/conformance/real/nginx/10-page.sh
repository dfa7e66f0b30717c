#!/bin/sh
set -e
WHO=entrypoint envsubst < "$PAGES/made.template" > "$PAGES/made.html"
