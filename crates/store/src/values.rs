//! Splits large values into parts. sled reads and writes a leaf of up to 16 values at once, and stores leaves above
//! 128 KiB in separate files: a definition of 1 MB would take 16 MB of memory, and sled never recovers from a failed
//! write of such a file.

use super::StoreError;
use sled::{Batch, Db, IVec};
use uuid::Uuid;

/// Maximum size of a value or of a part.
const MAX_PART_BYTES: usize = 4 << 10;
/// Prefix of the value that replaces a split value; no JSON starts with it. It is followed by the number of parts and a
/// unique id, by which a reader detects that they were replaced meanwhile.
const MARKER: &str = "parts ";
/// Prefix of the keys of parts.
const KEY_PREFIX: &str = "part/";
/// Attempts to read a value that is being replaced.
const MAX_READS: usize = 100;

/// Adds a value to a batch, and removes surplus parts of the previous value.
pub(super) fn put(
    db: &Db,
    batch: &mut Batch,
    key: &[u8],
    value: Vec<u8>,
) -> Result<(), StoreError> {
    let before = db.get(key)?.as_deref().and_then(parts_of).unwrap_or(0);
    if value.len() <= MAX_PART_BYTES {
        remove_parts(batch, key, 0..before);
        batch.insert(key, value);
        return Ok(());
    }
    let mut count = 0;
    for part in value.chunks(MAX_PART_BYTES) {
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
        Some(found) => resolve(db, key, found),
        None => Ok(None),
    }
}

/// Resolves `found`: returns the value itself, or joins its parts.
pub(super) fn resolve(db: &Db, key: &[u8], found: IVec) -> Result<Option<IVec>, StoreError> {
    let mut found = Some(found);
    for _ in 0..MAX_READS {
        let Some(marker) = found else {
            return Ok(None);
        };
        let Some(count) = parts_of(&marker) else {
            return Ok(Some(marker));
        };
        let mut value = Vec::with_capacity(count as usize * MAX_PART_BYTES);
        let mut is_complete = true;
        for number in 0..count {
            match db.get(part_key(key, number))? {
                Some(part) => value.extend_from_slice(&part),
                None => is_complete = false,
            }
        }
        found = db.get(key)?;
        // Batches are atomic, so these are the parts of this marker.
        if found.as_ref() == Some(&marker) {
            return match is_complete {
                true => Ok(Some(value.into())),
                false => Err(unreadable(key, "a part is missing")),
            };
        }
    }
    Err(unreadable(key, "it is replaced continuously"))
}

/// The key of the value that this is a part of.
pub(super) fn owner(key: &[u8]) -> Option<&[u8]> {
    const TAIL: usize = 1 + size_of::<u32>();
    let rest = key.strip_prefix(KEY_PREFIX.as_bytes())?;
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

/// The prefix is unique, because task names have no `/`.
fn prefix(key: &[u8]) -> Vec<u8> {
    [KEY_PREFIX.as_bytes(), key, b"/"].concat()
}

/// Appends the number as four bytes, big-endian, so that parts sort by it.
fn part_key(key: &[u8], number: u32) -> Vec<u8> {
    let mut part = prefix(key);
    part.extend_from_slice(&number.to_be_bytes());
    part
}

fn unreadable(key: &[u8], reason: &str) -> StoreError {
    StoreError::Corrupt {
        key: super::key_text(key),
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
    fn values_of_all_lengths_can_be_read_and_removed_completely() {
        let dir = tempfile::tempdir().unwrap();
        let db = super::super::config(dir.path()).open().unwrap();
        // Another value whose key starts with the same text.
        write(&db, "state/one-2", &[2; 3 * MAX_PART_BYTES]);
        let lengths = [
            0,
            1,
            MAX_PART_BYTES,
            MAX_PART_BYTES + 1,
            2 * MAX_PART_BYTES,
            700_000,
            3 * MAX_PART_BYTES,
            5,
            9 * MAX_PART_BYTES,
        ];
        for length in lengths {
            let value: Vec<u8> = (0..length)
                .map(|i| u8::try_from(i % 251).unwrap())
                .collect();
            write(&db, "state/one", &value);
            assert_eq!(read(&db, "state/one").unwrap(), value);
            let parts = db.scan_prefix(prefix(b"state/one")).count();
            let expected = if length > MAX_PART_BYTES {
                length.div_ceil(MAX_PART_BYTES)
            } else {
                0
            };
            assert_eq!(parts, expected, "parts of the previous value");
        }
        let mut batch = Batch::default();
        remove(&db, &mut batch, b"state/one").unwrap();
        db.apply_batch(batch).unwrap();
        assert_eq!(read(&db, "state/one"), None);
        assert_eq!(read(&db, "state/one-2").unwrap(), [2; 3 * MAX_PART_BYTES]);
        let other = db.scan_prefix("part/").keys().map(Result::unwrap);
        for key in other {
            assert_eq!(owner(&key), Some(b"state/one-2".as_slice()));
        }
    }

    #[test]
    fn a_concurrent_read_returns_the_old_or_the_new_value() {
        let dir = tempfile::tempdir().unwrap();
        let db = super::super::config(dir.path()).open().unwrap();
        let values = [
            vec![1; 5 * MAX_PART_BYTES],
            vec![2; 3 * MAX_PART_BYTES],
            vec![3; 7],
        ];
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
    fn a_missing_part_is_damage() {
        let dir = tempfile::tempdir().unwrap();
        let db = super::super::config(dir.path()).open().unwrap();
        write(&db, "spec/one", &[1; 3 * MAX_PART_BYTES]);
        db.remove(part_key(b"spec/one", 1)).unwrap();
        let error = get(&db, b"spec/one").unwrap_err();
        assert!(error.to_string().contains("spec/one"), "{error}");
    }
}
