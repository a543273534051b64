//! What is filled, against a slow account of it page by page, and however the pages come in stretches.

use super::*;
use proptest::prelude::*;

/// A page: written `#`, cleared `o`, unchanged and allocated `=`, unallocated `.`.
fn of(letter: u8) -> (Option<Kind>, bool) {
    match letter {
        b'#' => (Some(Kind::Write), true),
        b'o' => (Some(Kind::Clear), false),
        b'=' => (None, true),
        _ => (None, false),
    }
}

/// The picture with filled pages as `+`, its pages given in stretches of the lengths that `cuts` tells, from page `from` on.
fn filled(picture: &str, gap_max: u64, from: u64, mut cuts: impl FnMut() -> usize) -> String {
    let letters = picture.as_bytes();
    let mut filler = Filler::new(Pages::new(gap_max));
    let (mut at, mut drawn) = (0, letters.to_vec());
    let mut draw = |filler: &mut Filler<(usize, usize)>| {
        while let Some(((start, end), filled)) = filler.next() {
            if filled {
                drawn[start..end].fill(b'+');
            }
        }
    };
    while at < letters.len() {
        let alike = letters[at..].iter().take_while(|letter| **letter == letters[at]).count();
        let end = at + alike.min(cuts().max(1));
        let page = |at: usize| Pages::new(from + at as u64);
        let range = PageRange::new(page(at), page(end)).unwrap();
        let (said, allocated) = of(letters[at]);
        // Pages that no list mentions make no stretch.
        if letters[at] != b'.' || at % 2 == 0 {
            filler.push((at, end), range, said, allocated);
        }
        draw(&mut filler);
        at = end;
    }
    filler.finish();
    draw(&mut filler);
    String::from_utf8(drawn).unwrap()
}

fn whole(picture: &str, gap_max: u64, from: u64) -> String {
    filled(picture, gap_max, from, || usize::MAX)
}

/// The same, said slowly: totals are counted anew at every gap.
fn slowly(picture: &str, gap_max: u64, from: u64) -> String {
    let mut letters = picture.as_bytes().to_vec();
    let grid = ChunkPolicy::default().write_max.count();
    let mut at = 0;
    while at < letters.len() {
        let gap = letters[at..].iter().take_while(|letter| **letter == b'=').count();
        let end = at + gap;
        let between = at > 0 && letters[at - 1] == b'#' && letters.get(end) == Some(&b'#');
        if gap > 0 && between {
            let sent = |letter: &u8| matches!(letter, b'#' | b'+');
            let pages = letters[..at].iter().filter(|letter| sent(letter)).count() as u64;
            let requests = (0..at)
                .filter(|page| match letters[*page] {
                    b'o' => *page == 0 || letters[page - 1] != b'o',
                    _ => {
                        let goes_on =
                            *page > 0 && sent(&letters[page - 1]) && !(from + *page as u64).is_multiple_of(grid);
                        sent(&letters[*page]) && !goes_on
                    }
                })
                .count() as u64;
            let one_cell = (from + at as u64 - 1) / grid == (from + end as u64) / grid;
            if gap as u64 <= gap_max && one_cell && requests * gap_max >= pages + gap as u64 {
                letters[at..end].fill(b'+');
            }
        }
        at = end.max(at + 1);
    }
    String::from_utf8(letters).unwrap()
}

#[test]
fn only_short_gaps_of_unchanged_allocated_pages_are_filled() {
    assert_eq!(whole("#==#===#====#", 3, 0), "#++#===#====#", "one request is worth three pages, and three were spent");
    assert_eq!(whole("#=#", 1, 0), "#=#", "it would cost more than it saves");
    assert_eq!(whole("#=#", 2, 0), "#+#");
    assert_eq!(whole("#=#", 0, 0), "#=#", "none means none");
    assert_eq!(whole("#=o=#.#=.=#==", 9, 0), "#=o=#.#=.=#==", "never over a clear, never over what is not allocated");
    assert_eq!(whole("=#=o#=#=", 9, 0), "=#=o#+#=");
}

#[test]
fn a_step_that_is_bound_by_bytes_is_left_alone() {
    let long = format!("{}=#=#=#", "#".repeat(99));
    assert_eq!(whole(&long, 9, 0), long);
    let short = format!("{}{}=#=#", "#.".repeat(20), "#".repeat(99));
    assert_eq!(whole(&short, 9, 0), short.replace('=', "+"), "twenty requests pay for them");
}

#[test]
fn nothing_is_filled_across_the_grid_where_no_request_is_saved() {
    for (from, expected) in [(8192 - 2, "#=#"), (8192 - 1, "#=#"), (8192 - 3, "#+#"), (8192, "#+#")] {
        assert_eq!(whole("#=#", 9, from), expected, "{from}");
    }
}

proptest! {
    #[test]
    fn what_is_filled_does_not_depend_on_how_the_pages_come(
        picture in "[#=]{0,60}|[#=.o]{0,60}|(#{1,3}={1,6}){0,12}",
        gap_max in 0..12u64, from in prop::sample::select(vec![0, 8150, 8192, 1 << 21]), cuts: Vec<u8>,
    ) {
        let mut cuts = cuts.into_iter().cycle();
        let expected = slowly(&picture, gap_max, from);
        prop_assert_eq!(&whole(&picture, gap_max, from), &expected);
        let cut = filled(&picture, gap_max, from, || cuts.next().map_or(1, |cut| usize::from(cut % 4)));
        prop_assert_eq!(&cut, &expected);
        let (with, without) = (count(&expected, from), count(&picture, from));
        prop_assert!(with <= without, "filling adds no request");
    }
}

/// Write requests that a picture takes.
fn count(picture: &str, from: u64) -> usize {
    let sent = |letter: u8| matches!(letter, b'#' | b'+');
    let letters = picture.as_bytes();
    let begins = |at: usize| at == 0 || !sent(letters[at - 1]) || (from + at as u64).is_multiple_of(8192);
    (0..letters.len()).filter(|at| sent(letters[*at]) && begins(*at)).count()
}
