//! The three loops that every planned range passes: the parser, the walk and the cutter.
//!
//! `cargo bench -p pageferry-benches --bench small`

#![expect(missing_docs, reason = "criterion's macros make public functions")]

use std::fmt::Write;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pageferry_core::page_list::PageListReader;
use pageferry_core::plan::{ChunkPolicy, Cutter};
use pageferry_core::walk::Walk;
use pageferry_core::{Change, PageRange, Pages};

const RANGES: u64 = 10_000;

/// Single pages, every third cleared, spread over a disk of a terabyte.
fn changes() -> Vec<Change> {
    let page = |number: u64| PageRange::new(Pages::new(number), Pages::new(number + 1));
    let changes = (0..RANGES).filter_map(|number| {
        let range = page(number * 214_000)?;
        Some(if number % 3 == 0 { Change::clear(range) } else { Change::write(range) })
    });
    changes.collect()
}

/// As the service lists them. A blank where XML allows one makes every entry one for the general reader.
fn body(changes: &[Change], blank: &str) -> String {
    let mut body = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?><PageList>");
    for change in changes {
        let name = if change.kind == pageferry_core::Kind::Write { "PageRange" } else { "ClearRange" };
        let (first, last) = change.range.inclusive_bytes();
        write!(body, "<{name}{blank}><Start>{first}</Start><End>{last}</End></{name}>").expect("memory");
    }
    body.push_str("</PageList>");
    body
}

fn parse(body: &str) -> usize {
    let (mut reader, mut entries) = (PageListReader::new(), Vec::new());
    for piece in body.as_bytes().chunks(64 << 10) {
        reader.feed(piece, &mut entries).expect("a list");
    }
    reader.finish().expect("all of it");
    entries.len()
}

fn walk(lists: &[Vec<Change>; 4]) -> usize {
    let mut walk = Walk::<4>::new();
    let mut at = [0; 4];
    let mut stretches = 0;
    loop {
        while let Some(list) = walk.wants() {
            walk.give(list, lists[list].get(at[list]).copied()).expect("in order");
            at[list] += 1;
        }
        let Some(stretch) = walk.next() else { return stretches };
        stretches += black_box(stretch).says.len();
    }
}

fn cut(changes: &[Change]) -> usize {
    let mut cutter = Cutter::new(ChunkPolicy::default());
    let mut requests = 0;
    for change in changes {
        cutter.push(*change);
        requests += std::iter::from_fn(|| cutter.next()).map(black_box).count();
    }
    cutter.finish();
    requests + std::iter::from_fn(|| cutter.next()).count()
}

fn small(criterion: &mut Criterion) {
    let changes = changes();
    let mut group = criterion.benchmark_group("ranges");
    group.throughput(Throughput::Elements(RANGES));
    for (name, blank) in [("parser, as the service spells", ""), ("parser, spelt otherwise", " ")] {
        let body = body(&changes, blank);
        assert_eq!(parse(&body), changes.len());
        group.bench_function(name, |bencher| bencher.iter(|| parse(black_box(&body))));
    }
    let alone = [changes.clone(), Vec::new(), Vec::new(), Vec::new()];
    group.bench_function("walk of one list", |bencher| bencher.iter(|| walk(black_box(&alone))));
    let alike = [(); 4].map(|()| changes.clone());
    group.bench_function("walk of four lists", |bencher| bencher.iter(|| walk(black_box(&alike))));
    group.bench_function("cutter", |bencher| bencher.iter(|| cut(black_box(&changes))));
    group.finish();
}

criterion_group!(benches, small);
criterion_main!(benches);
