//! Multi-row statements in the text that SQLite and PostgreSQL share.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;

use sqlx::any::AnyRow;
use sqlx::{Any, AnyConnection, AssertSqlSafe};
use store::Tx;

/// A statement that values are being bound to.
pub type Query<'q> = sqlx::query::Query<'q, Any, sqlx::any::AnyArguments>;

/// Values in a statement. SQLite looks every `$n` up in a list, so that its time grows with the
/// square of their number: 8,000 in a statement took five times as long per row as 500 (measured).
const MOST_VALUES: usize = 500;

/// Inserts `rows` in multi-row statements. `columns` are the table's columns in the order in
/// which `bind` binds a row's values; `conflict` is the `ON CONFLICT` clause, which may be empty.
/// No two rows may have the same key: PostgreSQL refuses to update a row twice in a statement.
///
/// # Errors
/// When a statement fails.
pub async fn insert<R>(
    tx: &mut Tx,
    table: &str,
    columns: &[&str],
    conflict: &str,
    rows: &[R],
    bind: impl for<'q> Fn(Query<'q>, &R) -> Query<'q>,
) -> Result<(), sqlx::Error> {
    for chunk in rows.chunks((MOST_VALUES / columns.len().max(1)).max(1)) {
        let sql = insert_sql(table, columns, conflict, chunk.len());
        // Not kept prepared: PostgreSQL would remember the type of a NULL bound to an f64 column,
        // which sqlx's Any driver gives as a 4-byte float, and misread the next value there.
        let query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        chunk.iter().fold(query, &bind).execute(&mut **tx).await?;
    }
    Ok(())
}

/// An `ON CONFLICT` clause that replaces the row with the same first column.
pub fn replace(columns: &[&str]) -> String {
    let Some((key, others)) = columns.split_first() else { return String::new() };
    let sets: Vec<String> = others.iter().map(|column| format!("{column} = excluded.{column}")).collect();
    format!("ON CONFLICT ({key}) DO UPDATE SET {}", sets.join(", "))
}

/// All rows of `select`, which ends in the name of a column, where that column is one of `ids`.
///
/// # Errors
/// When a statement fails.
pub async fn select_in(connection: &mut AnyConnection, select: &str, ids: &[&str]) -> Result<Vec<AnyRow>, sqlx::Error> {
    let mut found = Vec::new();
    for chunk in ids.chunks(MOST_VALUES) {
        let sql = format!("{select} IN ({})", placeholders(1, chunk.len()));
        let query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        found.extend(chunk.iter().fold(query, |query, id| query.bind(*id)).fetch_all(&mut *connection).await?);
    }
    Ok(found)
}

/// `$first, ...` for `count` values.
fn placeholders(first: usize, count: usize) -> String {
    let names: Vec<String> = (first..first + count).map(|n| format!("${n}")).collect();
    names.join(", ")
}

fn insert_sql(table: &str, columns: &[&str], conflict: &str, rows: usize) -> String {
    let width = columns.len();
    let tuples: Vec<String> = (0..rows).map(|row| format!("({})", placeholders(row * width + 1, width))).collect();
    format!("INSERT INTO {table} ({}) VALUES {} {conflict}", columns.join(", "), tuples.join(", "))
}

/// The last element of each key, in the order in which the keys first appear.
pub fn last_of_each<'a, T, K: Hash + Eq>(rows: &'a [T], key: impl Fn(&'a T) -> K) -> Vec<&'a T> {
    let mut places = HashMap::with_capacity(rows.len());
    let mut kept: Vec<&T> = Vec::with_capacity(rows.len());
    for row in rows {
        match places.entry(key(row)) {
            Entry::Occupied(place) => kept[*place.get()] = row,
            Entry::Vacant(place) => {
                place.insert(kept.len());
                kept.push(row);
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_numbers_its_placeholders_row_by_row() {
        assert_eq!(
            insert_sql("t", &["a", "b"], &replace(&["a", "b"]), 2),
            "INSERT INTO t (a, b) VALUES ($1, $2), ($3, $4) ON CONFLICT (a) DO UPDATE SET b = excluded.b"
        );
    }

    #[test]
    fn the_last_of_equal_keys_is_kept_in_the_first_ones_place() {
        let rows = [("a", 1), ("b", 2), ("a", 3)];
        assert_eq!(last_of_each(&rows, |row| row.0), [&("a", 3), &("b", 2)]);
    }
}
