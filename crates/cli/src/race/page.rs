//! The report of a race as one page that loads nothing.

use std::fmt::Write as _;

use crate::bench::html::{END, begin, escape};
use crate::race::report::Raced;

/// The page.
pub(crate) fn page(race: &Raced) -> String {
    let mut out = begin(&format!("pageferry race, {}", race.measured_at));
    let _ = write!(out, "<header><p class=\"kicker\">pageferry {} bench</p>", escape(race.version));
    out.push_str("<h1>pageferry and managed copy, side by side</h1><dl>");
    let machine = &race.machine;
    for (name, value) in [
        ("Measured", race.measured_at.clone()),
        ("By", format!("{} on {}, {} processors", machine.system, machine.architecture, machine.processors)),
        ("Source", race.source.clone()),
        ("pageferry", format!("to blobs of its own beside {}", race.target)),
        ("Managed copy", format!("to snapshots of its own in {}", race.location)),
        ("Repeated", race.repeats.to_string()),
    ] {
        let _ = write!(out, "<dt>{name}</dt><dd>{}</dd>", escape(&value));
    }
    out.push_str("</dl></header><aside>");
    for caveat in race.caveats() {
        let _ = write!(out, "<p>{}</p>", escape(caveat));
    }
    out.push_str("</aside>");
    let columns = race.columns();
    let most = columns.iter().filter_map(|column| column.restorable()).max().unwrap_or(1).max(1);
    for pair in columns.chunks(2) {
        let Some(first) = pair.first() else { continue };
        let _ =
            write!(out, "<section><h2>{}</h2><div class=\"scroll\"><table><thead><tr>", escape(first.round.label()));
        out.push_str("<th scope=\"col\">Side</th>");
        for name in ["Moved", "Time", "Restorable after", "Requests", "Money"] {
            let _ = write!(out, "<th scope=\"col\" class=\"n\">{name}</th>");
        }
        out.push_str("</tr></thead><tbody>");
        for (colour, column) in pair.iter().enumerate() {
            let _ = write!(out, "<tr><th scope=\"row\">{}</th>", escape(column.who));
            if let Some(why) = column.why.filter(|_| column.sides.is_empty()) {
                let _ = write!(out, "<td colspan=\"5\" class=\"none\">not measured: {}</td></tr>", escape(why));
                continue;
            }
            let share = u128::from(column.restorable().unwrap_or_default()) * 100 / u128::from(most);
            for (at, cell) in column.cells().iter().enumerate() {
                let cell = escape(cell);
                let _ = match at {
                    2 => write!(
                        out,
                        "<td class=\"n speed\"><span>{cell}</span><i class=\"bar b{colour}\" style=\"width:{share}%\"></i></td>"
                    ),
                    _ => write!(out, "<td class=\"n\">{cell}</td>"),
                };
            }
            out.push_str("</tr>");
        }
        out.push_str("</tbody></table></div></section>");
    }
    out.push_str(END);
    out
}
