#!/bin/sh
# Restores a dump into the databases of PGHOST, as their owners, each in one transaction: the directory DUMP, else the newest.
# Changes nothing while anybody is connected as one of them, nor where there are orders, unless REPLACE is 1.
set -eu
dump="$BACKUPS/${DUMP:-$(ls -1 "$BACKUPS" | sort | tail -n 1)}"
ask() {
    psql --no-psqlrc --tuples-only --no-align --set=ON_ERROR_STOP=1 --command="$1"
}
each() {
    export PGUSER=order_service PGPASSWORD="$ORDER_PASSWORD" PGDATABASE=order_db
    "$1"
    export PGUSER=inventory_service PGPASSWORD="$INVENTORY_PASSWORD" PGDATABASE=inventory_db
    "$1"
}
refuse_others() {
    others=$(ask "SELECT count(*) FROM pg_stat_activity WHERE usename = current_user AND pid <> pg_backend_pid()")
    if [ "$others" -ne 0 ]; then
        echo "$others sessions of $PGUSER are open: stop the services first" >&2
        exit 1
    fi
}
refuse_orders() {
    if [ "$PGDATABASE" != order_db ] || [ "${REPLACE:-}" = 1 ]; then
        return
    fi
    there=$(ask "SELECT to_regclass('public.orders') IS NOT NULL")
    if [ "$there" = t ] && [ "$(ask "SELECT EXISTS (SELECT FROM orders)")" = t ]; then
        echo "there are orders: set REPLACE=1 to have the dump take their place" >&2
        exit 1
    fi
}
restore() {
    pg_restore --dbname="$PGDATABASE" --clean --if-exists --single-transaction --exit-on-error "$dump/$PGDATABASE.dump"
    echo "restored $PGDATABASE from $dump"
}
each refuse_others
each refuse_orders
each restore
