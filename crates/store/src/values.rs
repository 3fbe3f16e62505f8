//! Large values in parts. sled reads and writes a leaf of up to 16 values at once, and puts leaves beyond 128 KiB into
//! files of their own: definitions of a megabyte would cost 16 in memory, and a failed write of such a file is one
//! that sled never recovers from.

use super::StoreError;
use sled::{Batch, Db, IVec};
use uuid::Uuid;

/// Most bytes of a value, and of a part.
const PART: usize = 4 << 10;
/// What stands in the place of a value in parts; JSON begins otherwise. Behind it are their number and an id, by which
/// a reader notices that they were replaced meanwhile.
const MARKER: &str = "parts ";
/// Kind of the keys of parts.
const KIND: &str = "part/";
/// A value that is replaced more often while it is read is not waited for.
const READS: usize = 100;

/// Adds a value to a batch, and removes what is left of the one before it.
pub(super) fn put(
    db: &Db,
    batch: &mut Batch,
    key: &[u8],
    value: Vec<u8>,
) -> Result<(), StoreError> {
    let before = db.get(key)?.as_deref().and_then(parts_of).unwrap_or(0);
    if value.len() <= PART {
        remove_parts(batch, key, 0..before);
        batch.insert(key, value);
        return Ok(());
    }
    let mut count = 0;
    for part in value.chunks(PART) {
        batch.insert(part_key(key, count), part);
        count += 1;
    }
    remove_parts(batch, key, count..before);
    batch.insert(key, format!("{MARKER}{count} {}", Uuid::new_v4()).as_str());
    Ok(())
}

/// Adds the removal of a value to a batch.
pub(super) fn remove(db: &Db, batch: &mut Batch, key: &[u8]) -> Result<(), StoreError> {
    for part in db.scan_prefix(prefix(key)).keys() {
        batch.remove(part?);
    }
    batch.remove(key);
    Ok(())
}

/// The value with this key.
pub(super) fn get(db: &Db, key: &[u8]) -> Result<Option<IVec>, StoreError> {
    match db.get(key)? {
        Some(found) => whole(db, key, found),
        None => Ok(None),
    }
}

/// The value that `found` stands for.
pub(super) fn whole(db: &Db, key: &[u8], found: IVec) -> Result<Option<IVec>, StoreError> {
    let mut found = Some(found);
    for _ in 0..READS {
        let Some(marker) = found else {
            return Ok(None);
        };
        let Some(count) = parts_of(&marker) else {
            return Ok(Some(marker));
        };
        let mut value = Vec::with_capacity(count as usize * PART);
        let mut is_whole = true;
        for number in 0..count {
            match db.get(part_key(key, number))? {
                Some(part) => value.extend_from_slice(&part),
                None => is_whole = false,
            }
        }
        found = db.get(key)?;
        // A batch is seen whole or not at all, so these are the parts of this marker.
        if found.as_ref() == Some(&marker) {
            return match is_whole {
                true => Ok(Some(value.into())),
                false => Err(unreadable(key, "a part of it is missing")),
            };
        }
    }
    Err(unreadable(key, "it is replaced all the time"))
}

/// The key of the value that this is a part of.
pub(super) fn owner(key: &[u8]) -> Option<&[u8]> {
    const TAIL: usize = 1 + size_of::<u32>();
    let rest = key.strip_prefix(KIND.as_bytes())?;
    rest.get(..rest.len().checked_sub(TAIL)?)
}

fn remove_parts(batch: &mut Batch, key: &[u8], numbers: std::ops::Range<u32>) {
    for number in numbers {
        batch.remove(part_key(key, number));
    }
}

fn parts_of(value: &[u8]) -> Option<u32> {
    let rest = std::str::from_utf8(value).ok()?.strip_prefix(MARKER)?;
    rest.split(' ').next()?.parse().ok()
}

/// No other key begins so: the names of tasks have no `/`.
fn prefix(key: &[u8]) -> Vec<u8> {
    [KIND.as_bytes(), key, b"/"].concat()
}

/// Numbers of four bytes, big-endian, so that they sort.
fn part_key(key: &[u8], number: u32) -> Vec<u8> {
    let mut part = prefix(key);
    part.extend_from_slice(&number.to_be_bytes());
    part
}

fn unreadable(key: &[u8], reason: &str) -> StoreError {
    StoreError::Corrupt {
        key: super::in_text(key),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn write(db: &Db, key: &str, value: &[u8]) {
        let mut batch = Batch::default();
        put(db, &mut batch, key.as_bytes(), value.to_vec()).unwrap();
        db.apply_batch(batch).unwrap();
    }

    fn read(db: &Db, key: &str) -> Option<Vec<u8>> {
        get(db, key.as_bytes()).unwrap().map(|value| value.to_vec())
    }

    #[test]
    fn values_of_all_lengths_come_back_and_leave_nothing_when_they_go() {
        let dir = tempfile::tempdir().unwrap();
        let db = super::super::config(dir.path()).open().unwrap();
        // Of another value, whose key begins with the other one's.
        write(&db, "state/one-2", &[2; 3 * PART]);
        let lengths = [
            0,
            1,
            PART,
            PART + 1,
            2 * PART,
            700_000,
            3 * PART,
            5,
            9 * PART,
        ];
        for length in lengths {
            let value: Vec<u8> = (0..length)
                .map(|i| u8::try_from(i % 251).unwrap())
                .collect();
            write(&db, "state/one", &value);
            assert_eq!(read(&db, "state/one").unwrap(), value);
            let parts = db.scan_prefix(prefix(b"state/one")).count();
            let expected = if length > PART {
                length.div_ceil(PART)
            } else {
                0
            };
            assert_eq!(parts, expected, "nothing of the value before");
        }
        let mut batch = Batch::default();
        remove(&db, &mut batch, b"state/one").unwrap();
        db.apply_batch(batch).unwrap();
        assert_eq!(read(&db, "state/one"), None);
        assert_eq!(read(&db, "state/one-2").unwrap(), [2; 3 * PART]);
        let other = db.scan_prefix("part/").keys().map(Result::unwrap);
        for key in other {
            assert_eq!(owner(&key), Some(b"state/one-2".as_slice()));
        }
    }

    #[test]
    fn a_value_that_is_replaced_while_it_is_read_is_the_old_or_the_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let db = super::super::config(dir.path()).open().unwrap();
        let values = [vec![1; 5 * PART], vec![2; 3 * PART], vec![3; 7]];
        write(&db, "spec/one", &values[0]);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for round in 0..300 {
                    write(&db, "spec/one", &values[round % 3]);
                }
            });
            while !writer.is_finished() {
                let found = read(&db, "spec/one").unwrap();
                assert!(values.contains(&found), "{} bytes", found.len());
            }
        });
    }

    #[test]
    fn a_part_that_is_missing_is_damage() {
        let dir = tempfile::tempdir().unwrap();
        let db = super::super::config(dir.path()).open().unwrap();
        write(&db, "spec/one", &[1; 3 * PART]);
        db.remove(part_key(b"spec/one", 1)).unwrap();
        let error = get(&db, b"spec/one").unwrap_err();
        assert!(error.to_string().contains("spec/one"), "{error}");
    }
}
