//! What a store's database is made of: its tables with their columns, and its triggers.

use std::collections::BTreeSet;
use std::path::Path;

use mica_store::Store;
use rusqlite::{Connection, OpenFlags};

use crate::support::store;
use crate::{TODAY, data, unpacked};

/// Only reads: what is kept is looked at as it lies there.
fn database(root: &Path) -> Connection {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    Connection::open_with_flags(root.join("mica/db.sqlite"), flags).unwrap()
}

fn texts(database: &Connection, query: &str) -> Vec<String> {
    let mut query = database.prepare(query).unwrap();
    let texts = query.query_map([], |row| row.get(0)).unwrap();
    texts.map(Result::unwrap).collect()
}

/// A line for each column of each table and each trigger.
pub(crate) fn of(root: &Path) -> BTreeSet<String> {
    let database = database(root);
    let columns = texts(
        &database,
        "SELECT 'column ' || t.name || '.' || c.name || ' ' || c.type || iif(c.\"notnull\", ' NOT NULL', '')
             || iif(c.pk > 0, ' key ' || c.pk, '')
         FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.type = 'table'",
    );
    let triggers = texts(
        &database,
        "SELECT 'trigger ' || sql FROM sqlite_schema WHERE type = 'trigger'",
    );
    let in_one_line = |text: &String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    columns.iter().chain(&triggers).map(in_one_line).collect()
}

/// Tables of a store that have no rows.
pub(crate) fn empty_tables(root: &Path) -> Vec<String> {
    let database = database(root);
    let mut tables = texts(&database, "SELECT name FROM sqlite_schema WHERE type = 'table'");
    tables.retain(|table| {
        let rows = format!("SELECT count(*) FROM {table}");
        database.query_row(&rows, [], |row| row.get::<_, i64>(0)).unwrap() == 0
    });
    tables
}

/// What today's version makes.
pub(crate) fn today() -> BTreeSet<String> {
    let (folder, store) = store();
    drop(store);
    of(folder.path())
}

#[test]
fn the_newest_store_that_is_kept_is_one_of_today() {
    let next = format!(
        "the store that today's version writes is not the one in store-v{TODAY}.tar.zst: keep the next one. Leave those that \
         are there, raise TODAY in tests/upgrade/main.rs to {}, fill new tables in write.rs, and run as root: MICA_KEEP_STORE=1 \
         cargo test -p mica-store --test upgrade a_store_of_today_can_be_kept",
        TODAY + 1
    );
    let kept = unpacked(&data().join(format!("store-v{TODAY}.tar.zst")));
    let (was, is) = (of(kept.path()), today());
    let differs: Vec<_> = was.symmetric_difference(&is).collect();
    assert!(differs.is_empty(), "{next}\n{differs:#?}");
    let empty = empty_tables(kept.path());
    assert!(empty.is_empty(), "{next}\nnothing is in {empty:?}");

    let (fresh, open) = store();
    drop(open);
    let format = |root: &Path| std::fs::read_to_string(root.join("mica/format.json")).unwrap();
    assert_eq!(format(kept.path()), format(fresh.path()), "{next}");
    // an older one is told from it
    let older = unpacked(&data().join("store-v1.tar.zst"));
    assert!(of(older.path()).is_subset(&is));
    assert_ne!(of(older.path()), is);
    drop(Store::open(older.path()).unwrap());
    assert_eq!(of(older.path()), is);
}
