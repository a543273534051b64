//! The reader of page lists: one meaning however the body is cut, and never a short list.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pageferry_core::page_list::{PageListError, PageListReader};
use pageferry_core::{Change, Diff, InOrder, PageRange, Pages};
use pageferry_fuzz::Dice;

type Outcome = Result<(Vec<Change>, Option<String>), PageListError>;

fuzz_target!(|body: &[u8]| {
    let mut dice = Dice::of(body);
    let whole = read([body]);
    assert_eq!(read(body.chunks(1)), whole, "byte by byte");
    assert_eq!(read(dice.pieces(body, 6)), whole, "in pieces");
    let Ok((entries, _)) = &whole else { return };
    for end in dice.prefixes(body.len()) {
        let outcome = read([&body[..end]]);
        assert!(outcome.is_err() || outcome == whole, "the first {end} bytes pass for {outcome:?}, not {whole:?}");
    }
    for bytes in [512, 8 << 10, 8 << 40] {
        in_order(entries, PageRange::whole(Pages::from_bytes(bytes).unwrap()).unwrap());
    }
});

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let (mut reader, mut entries) = (PageListReader::new(), Vec::new());
    for piece in pieces {
        reader.feed(piece, &mut entries)?;
    }
    Ok((entries, reader.finish()?))
}

/// What passes the check of order is in order, disjoint and inside the blob, and says what the list says.
fn in_order(entries: &[Change], blob: PageRange) {
    let clipped: Vec<Change> = entries.iter().filter_map(|change| change.clipped(blob)).collect();
    let (mut order, mut passed) = (InOrder::default(), Vec::new());
    for change in &clipped {
        match order.push(*change) {
            Ok(news) => passed.extend(news),
            Err(_) => return,
        }
    }
    let mut at = Pages::ZERO;
    for change in &passed {
        assert!(change.range.start() >= at, "{passed:?} goes back");
        assert_eq!(change.range.intersection(blob), Some(change.range), "beyond the blob");
        at = change.range.end();
    }
    assert_eq!(Diff::new(passed), Diff::new(clipped), "something was lost or made up");
}
