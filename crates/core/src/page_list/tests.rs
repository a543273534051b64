//! The reader on samples, cut everywhere, and on damage of every kind.

use super::*;
use crate::page::PageRange;
use proptest::prelude::*;

type Outcome = Result<(Vec<Change>, Option<String>), PageListError>;

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let (mut reader, mut entries) = (PageListReader::new(), Vec::new());
    for piece in pieces {
        reader.feed(piece, &mut entries)?;
    }
    Ok((entries, reader.finish()?))
}

/// What the general reader alone makes of a body.
fn read_as_xml<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let (mut reader, mut entries) = (PageListReader::new(), Vec::new());
    reader.document.general = true;
    for piece in pieces {
        reader.feed(piece, &mut entries)?;
    }
    Ok((entries, reader.finish()?))
}

fn error(body: &str) -> PageListError {
    read([body.as_bytes()]).unwrap_err()
}

fn write(first: u64, last: u64) -> Change {
    Change::write(PageRange::from_inclusive_bytes(first, last).unwrap())
}

fn clear(first: u64, last: u64) -> Change {
    Change::clear(PageRange::from_inclusive_bytes(first, last).unwrap())
}

const DIFF: &str = "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><PageList>\
    <PageRange><Start>0</Start><End>511</End></PageRange><ClearRange><Start>512</Start><End>1023</End></ClearRange>\
    <PageRange><Start>1024</Start><End>1535</End></PageRange><NextMarker>2!16!a&amp;b&#x3e;</NextMarker></PageList>";

const ODD: &str = "<!-- a > b --><?pi <x> ?>\n<PageList xmlns:x='a>b'>\r\n <New a=\">\"><PageRange><Start>zero</Start>\
    </PageRange> &any; text</New><ClearRange at='1'><Note/><End> 1<!-- no -->0<![CDATA[2]]>&#51; </End>\
    <Start\t>\n512</Start ></ClearRange><x:Y><x:Y/></x:Y><NextMarker/></PageList>\n<!-- end -->\n";

#[test]
fn entries_come_in_document_order() {
    let expected = vec![write(0, 511), clear(512, 1023), write(1024, 1535)];
    assert_eq!(read([DIFF.as_bytes()]), Ok((expected, Some("2!16!a&b>".to_owned()))));
}

#[test]
fn what_is_unknown_is_passed_over() {
    assert_eq!(read([ODD.as_bytes()]), Ok((vec![clear(512, 1023)], None)));
}

#[test]
fn an_empty_list_has_several_spellings() {
    for body in ["<PageList/>", "<PageList />", "<PageList></PageList>", "<PageList><NextMarker/></PageList>\r\n"] {
        assert_eq!(read([body.as_bytes()]), Ok((vec![], None)), "{body}");
    }
}

#[test]
fn the_cut_into_pieces_does_not_matter() {
    let broken = [
        "<PageList><PageRange></PageRange>",
        "<PageList><!DOCTYPE><",
        "<!DOCTYPE PageList",
        "<!none",
        "<PageList>&amp",
        "<PageList/><a>",
    ];
    for body in [DIFF, ODD].into_iter().chain(broken) {
        let (body, whole) = (body.as_bytes(), read([body.as_bytes()]));
        assert_eq!(read(body.chunks(1)), whole);
        for first in 0..=body.len() {
            for second in (first..=body.len()).step_by(7) {
                assert_eq!(read([&body[..first], &body[first..second], &body[second..]]), whole);
            }
        }
    }
}

#[test]
fn an_entry_is_plain_only_in_the_one_spelling_of_the_service() {
    let plain = |entry: &str| plain::entry(entry.as_bytes());
    let entry = "<PageRange><Start>1024</Start><End>1535</End></PageRange>";
    assert_eq!(plain(&format!("{entry}<x")), Some((write(1024, 1535), entry.len())));
    let entry = "<ClearRange><Start>0</Start><End>4398046511103</End></ClearRange>";
    assert_eq!(plain(entry), Some((clear(0, 4_398_046_511_103), entry.len())));
    for end in 0..entry.len() {
        assert_eq!(plain(&entry[..end]), None, "{end}");
    }
    for (from, to) in [("4398046511103", "512"), (">0<", "> 0<"), (">0<", "><"), (">0<", ">18446744073709551616<")] {
        assert_eq!(plain(&entry.replacen(from, to, 1)), None, "{to}");
    }
    assert_eq!(plain(&entry.replace("</ClearRange>", "</PageRange>")), None);
}

#[test]
fn a_body_that_ends_early_is_no_list() {
    for body in [DIFF, ODD] {
        let root_end = body.rfind("</PageList>").unwrap() + "</PageList>".len();
        for end in 0..root_end {
            let outcome = read([&body.as_bytes()[..end]]);
            assert!(matches!(outcome, Err(PageListError::Truncated(_))), "{end}: {outcome:?}");
        }
    }
}

#[test]
fn each_fault_has_its_name() {
    use PageListError::*;
    let entry = |inside: &str| error(&format!("<PageList><PageRange>{inside}</PageRange></PageList>"));
    assert_eq!(entry("<Start>0</Start>"), Missing("PageRange", "End"));
    assert_eq!(entry("<End>511</End>"), Missing("PageRange", "Start"));
    assert_eq!(entry("<Start>0</Start><End>512</End>"), BadRange("PageRange", 0, 512));
    assert_eq!(entry("<Start>512</Start><End>511</End>"), BadRange("PageRange", 512, 511));
    assert_eq!(entry("<Start>0</Start><Start>0</Start>"), Repeated("Start"));
    for text in ["", "+1", "-1", "1 2", "0x0", "18446744073709551616"] {
        assert_eq!(entry(&format!("<Start>{text}</Start>")), BadOffset("Start", text.to_owned()));
    }
    assert_eq!(entry("<Start>&nbsp;</Start>"), BadReference("nbsp".to_owned()));
    assert_eq!(entry("<Start>0</End>"), Mismatched("Start".to_owned(), "End".to_owned()));
    assert!(matches!(entry("<Start>0</Start <End>511</End>"), Mismatched(..)));
    assert!(matches!(entry("<Start><Start>0</Start>"), Mismatched(..)));
    assert!(matches!(entry("<Start <Start>0</Start>"), Malformed(_)));
    assert_eq!(entry("0"), StrayText("0".to_owned()));
    assert_eq!(error("<PageList><NextMarker/><NextMarker/></PageList>"), Repeated("NextMarker"));
    assert_eq!(error("<Error><Code>ServerBusy</Code></Error>"), OtherDocument("Error".to_owned()));
    assert_eq!(error("<!DOCTYPE PageList []><PageList/>"), Doctype);
    assert_eq!(error("<PageList/><PageList/>"), Trailing("PageList".to_owned()));
    assert_eq!(error("</PageList>"), OtherDocument("/PageList".to_owned()));
    assert_eq!(error("<PageList/></PageList>"), Trailing("</PageList>".to_owned()));
    assert_eq!(error("<PageList/>x"), Trailing("x".to_owned()));
    assert_eq!(error("<PageList/>x<y/>"), Trailing("x".to_owned()));
    assert_eq!(error("{}"), Truncated("before it began"));
    let marker = read([&b"<PageList><NextMarker>\xff</NextMarker></PageList>"[..]]);
    assert_eq!(marker, Err(BadMarker("\u{fffd}".to_owned())));
}

#[test]
fn what_cannot_become_a_token_is_refused_at_once_however_it_is_cut() {
    for body in ["<!?", "<!D", "<PageList>12<!?"] {
        let whole = read([body.as_bytes()]);
        assert!(!matches!(whole, Err(PageListError::Truncated(_))), "{body}: {whole:?}");
        assert_eq!(read(body.as_bytes().chunks(1)), whole, "{body}");
    }
}

#[test]
fn one_token_cannot_fill_memory() {
    let bodies = ["<PageList><NextMarker>", "<PageList a='", "<PageList><!-- ", "<PageList>&", "", "<a"];
    for (start, fill) in bodies.iter().flat_map(|start| [(start, b'a'), (start, b' '), (start, b';')]) {
        let (mut reader, mut entries) = (PageListReader::new(), Vec::new());
        let fed = reader.feed(start.as_bytes(), &mut entries);
        let piece = vec![fill; 4 << 10];
        let fed = fed.and_then(|()| (0..32).try_for_each(|_| reader.feed(&piece, &mut entries)));
        assert!(fed.is_err(), "{start}");
        assert!(reader.pending.len() <= TOKEN_BYTES_MAX);
        assert_eq!(reader.feed(b"<PageList/>", &mut entries), fed, "a reader that failed stays failed");
        assert_eq!(reader.finish().map(|_| ()), fed);
    }
    let deep = "<a>".repeat(TOKEN_BYTES_MAX + 1);
    assert!(matches!(error(&format!("<PageList>{deep}")), PageListError::Malformed(_)));
}

fn pieces<'a>(body: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).chain([0, body.len()]).collect();
    cuts.sort_unstable();
    cuts.windows(2).map(|cut| &body[cut[0]..cut[1]]).collect()
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(body: Vec<u8>, cuts: [prop::sample::Index; 4]) {
        prop_assert_eq!(read(pieces(&body, &cuts)), read([body.as_slice()]));
    }

    #[test]
    fn no_soup_of_markup_makes_it_panic(
        soup in "(<PageList>)?(<|>|</|/>|<!--|-->|<!\\[CDATA\\[|\\]\\]>|<\\?|\\?>|&|;|&#|Start|End|PageRange|\u{feff}|[0-9]| |'|\"){0,40}",
        cuts: [prop::sample::Index; 4],
    ) {
        prop_assert_eq!(read(pieces(soup.as_bytes(), &cuts)), read([soup.as_bytes()]));
    }

    #[test]
    fn no_damage_makes_it_panic(
        odd: bool,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3), 1..6),
        cuts: [prop::sample::Index; 4],
    ) {
        let mut body = if odd { ODD } else { DIFF }.as_bytes().to_vec();
        for (at, byte, how) in damage {
            let at = at.index(body.len());
            match how {
                0 => body[at] = byte,
                1 => body.insert(at, byte),
                _ => drop(body.remove(at)),
            }
        }
        prop_assert_eq!(read(pieces(&body, &cuts)), read([body.as_slice()]));
    }

    #[test]
    fn plain_entries_mean_what_the_general_reader_makes_of_them(
        odd: bool,
        entries in prop::collection::vec((any::<bool>(), 0..1000u64, 0..9u64, 0..12u8), 0..12),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4), 0..4),
        cuts: [prop::sample::Index; 6],
    ) {
        let list: String = entries.iter().map(|(cleared, first, pages, spelling)| {
            let name = if *cleared { "ClearRange" } else { "PageRange" };
            let (start, end) = (first * 512, (first + pages) * 512);
            let text = format!("<{name}><Start>{start}</Start><End>{}</End></{name}>", end.saturating_sub(1));
            match spelling {
                0 => text.replace("<Start>", "<Start >"),
                1 => text.replace("</End>", "</End>\n"),
                2 => text.replace("<End>", "<End>000000000000000000000"),
                3 => text.replace("<Start>", "<!-- --><Start>"),
                4 => format!("<New>{text}</New>"),
                5 => format!("\u{feff}{text}"),
                6 => format!(" {text}"),
                _ => text,
            }
        }).collect();
        let body = if odd { ODD } else { DIFF };
        let at = body.find("<PageList").and_then(|at| Some(at + body[at..].find("\n <New").or(body[at..].find("><")?.checked_add(1))?));
        let mut body = body.as_bytes().to_vec();
        let at = at.unwrap();
        body.splice(at..at, list.bytes());
        for (at, byte, how) in damage {
            let at = at.index(body.len());
            match how {
                0 => body[at] = byte,
                1 => body.insert(at, byte),
                2 => body.truncate(at + 1),
                _ => drop(body.remove(at)),
            }
        }
        let whole = read_as_xml([body.as_slice()]);
        prop_assert_eq!(read([body.as_slice()]), whole.clone());
        prop_assert_eq!(read(pieces(&body, &cuts)), whole.clone());
        prop_assert_eq!(read(body.chunks(1)), whole);
    }
}
