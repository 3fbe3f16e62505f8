#![allow(clippy::unwrap_used)]
use super::*;

const EXACT: Compared = Compared {
    micros: true,
    makers: true,
};
const COARSE: Compared = Compared {
    micros: false,
    makers: false,
};

/// A pseudo-random number derived from `n`.
fn noise(n: u64) -> u64 {
    let mixed = (n ^ 0x5555).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ (mixed >> 32)
}

fn row(n: u64) -> Row {
    Row {
        what: noise(n),
        second: 1000 + n / 50,
        micros: u32::try_from(n % 1000).unwrap(),
        maker: u32::try_from(n % 7).unwrap(),
    }
}

fn sketch(rows: impl Iterator<Item = Row>) -> Sketch {
    let mut sketch = Sketch::default();
    rows.for_each(|row| sketch.add(row));
    sketch.finish();
    sketch
}

fn shared(one: &Sketch, other: &Sketch, compared: Compared) -> u64 {
    let there = one.shared_with(other, compared, true);
    assert_eq!(there, other.shared_with(one, compared, true));
    there
}

#[test]
fn some_rows_of_a_large_file_are_found_in_any_order() {
    let whole = sketch((0..100_000).map(row));
    assert_eq!(whole.rows().len(), MAX_ROWS);
    let every_20th = sketch((0..100_000).rev().step_by(20).map(row));
    let found = shared(&whole, &every_20th, EXACT);
    assert!((60..150).contains(&found), "{found} of about 102");
    assert_eq!(found, shared(&whole, &every_20th, COARSE));
    let few = sketch((0..100_000).step_by(10_000).map(row));
    assert!(shared(&whole, &few, EXACT) < 10, "not all are kept");
}

#[test]
fn rows_of_different_files_are_not_the_same() {
    let one = sketch((0..50_000).map(row));
    let other = sketch((50_000..100_000).map(row));
    assert_eq!(shared(&one, &other, EXACT), 0);
}

#[test]
fn rows_are_distinguished_by_data_in_both_files() {
    let one = sketch((0..1000).map(row));
    let mut of_others: Vec<Row> = (0..1000).map(row).collect();
    of_others.iter_mut().for_each(|row| row.maker += 100);
    let of_others = sketch(of_others.into_iter());
    assert_eq!(shared(&one, &of_others, EXACT), 0);
    assert_eq!(shared(&one, &of_others, COARSE), 1000);
}

/// Two workers at a steady pace: occasionally two rows have the same millisecond and duration.
#[test]
fn rows_that_are_equal_in_every_second_are_equal_by_chance() {
    let steady = |from: u64| {
        (from..from + 600).map(|second| Row {
            what: noise(1),
            second,
            micros: 0,
            maker: 0,
        })
    };
    assert_eq!(shared(&sketch(steady(0)), &sketch(steady(0)), COARSE), 0);
    assert_eq!(shared(&sketch(steady(0)), &sketch(steady(5)), COARSE), 0);
}

#[test]
fn few_equal_rows_count_within_a_container_only() {
    let one = sketch((0..500).map(row));
    let other = sketch((497..1000).map(row));
    assert_eq!(one.shared_with(&other, EXACT, true), 3);
    assert_eq!(one.shared_with(&other, EXACT, false), 0);
    let other = sketch((490..1000).map(row));
    assert_eq!(one.shared_with(&other, EXACT, false), 10);
}

#[test]
fn a_sketch_that_shrinks_keeps_what_a_smaller_one_would() {
    let mut once = sketch((0..20_000).map(row));
    once.shrink(100);
    let mut rows: Vec<Row> = (0..20_000).map(row).collect();
    rows.sort_unstable();
    assert_eq!(once.rows(), &rows[..100]);
    // The limit also applies to rows that are added later.
    rows.reverse();
    rows.iter().for_each(|row| once.add(*row));
    once.shrink(100);
    assert_eq!(once.rows().len(), 100);
}
