//! The report as one page: style and plots are in it, it loads nothing, and everything it shows as a plot it also says as
//! a table.

use std::fmt::Write as _;

use crate::bench::measure::What;
use crate::bench::plot::{Axis, Line, Marks, lines, spread};
use crate::bench::report::{Benched, Row, Timed, times};
use crate::bench::stats::{Sample, merged, percentile};
use crate::human::{bytes, duration, rate};

const STYLE: &str = include_str!("page.css");

const MIB: f64 = 1_048_576.0;

/// `text` as it stands in HTML, in text and in attributes.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// The page.
pub(crate) fn page(bench: &Benched) -> String {
    let mut out = begin(&format!("pageferry bench, {}", bench.measured_at));
    head(&mut out, bench);
    summary(&mut out, bench);
    let measured: Vec<(&Row, &Timed)> =
        bench.measurements.iter().filter_map(|row| Some((row, row.figures.as_ref()?))).collect();
    if !measured.is_empty() {
        throughput(&mut out, &measured);
        latencies(&mut out, &measured);
        under_way(&mut out, &measured);
    }
    out.push_str(END);
    out
}

/// How a page called `title` begins: style and all.
pub(crate) fn begin(title: &str) -> String {
    let mut out = String::from("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    out.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    out.push_str("<meta name=\"color-scheme\" content=\"light dark\"><meta name=\"referrer\" content=\"no-referrer\">");
    let _ = write!(out, "<title>{}</title><style>{STYLE}</style></head><body><main>", escape(title));
    out
}

/// How it ends.
pub(crate) const END: &str = "</main></body></html>\n";

fn head(out: &mut String, bench: &Benched) {
    let _ = write!(out, "<header><p class=\"kicker\">pageferry {} bench</p>", escape(bench.version));
    out.push_str("<h1>How fast does this pair move a disk?</h1><dl>");
    let machine = &bench.machine;
    for (name, value) in [
        ("Measured", bench.measured_at.clone()),
        ("By", format!("{} on {}, {} processors", machine.system, machine.architecture, machine.processors)),
        ("Source", bench.source.clone()),
        ("Snapshot", format!("{}, a disk of {}", bench.snapshot, bytes(bench.disk_bytes))),
        ("Target", format!("blobs of its own beside {}", bench.target)),
        (
            "Used",
            format!(
                "the first {} of what the snapshot holds, {} s at most for each",
                bytes(bench.used_bytes),
                bench.limit_secs
            ),
        ),
    ] {
        let _ = write!(out, "<dt>{name}</dt><dd>{}</dd>", escape(&value));
    }
    out.push_str("</dl></header><aside>");
    for caveat in bench.caveats() {
        let _ = write!(out, "<p>{}</p>", escape(caveat));
    }
    out.push_str("</aside>");
}

fn summary(out: &mut String, bench: &Benched) {
    out.push_str("<section><h2>Summary</h2><div class=\"scroll\"><table><thead><tr><th scope=\"col\">Measurement</th>");
    for name in ["Moved", "Time", "Speed", "Requests", "Refused"] {
        let _ = write!(out, "<th scope=\"col\" class=\"n\">{name}</th>");
    }
    out.push_str("</tr></thead><tbody>");
    let most =
        bench.measurements.iter().filter_map(|row| Some(row.figures.as_ref()?.bytes_per_second)).max().unwrap_or(0);
    for row in &bench.measurements {
        let _ = write!(
            out,
            "<tr><th scope=\"row\">{}{}<span class=\"what\">{}</span></th>",
            swatch(row.what),
            escape(row.what.label()),
            escape(row.what.meaning())
        );
        let Some(timed) = &row.figures else {
            let why = row.not_measured.as_deref().unwrap_or_default();
            let _ = write!(out, "<td colspan=\"5\" class=\"none\">not measured: {}</td></tr>", escape(why));
            continue;
        };
        let figures = &timed.figures;
        let note =
            figures.note.as_ref().map_or(String::new(), |note| format!("<span class=\"what\">{}</span>", escape(note)));
        let share = u128::from(timed.bytes_per_second) * 100 / u128::from(most.max(1));
        let _ = write!(
            out,
            "<td class=\"n\">{}{note}</td><td class=\"n\">{}</td><td class=\"n speed\"><span>{}</span><i class=\"bar b{}\" \
             style=\"width:{share}%\"></i></td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            bytes(figures.bytes),
            duration(figures.took),
            rate(figures.bytes, figures.took),
            row.what as usize,
            figures.requests,
            figures.refused
        );
    }
    out.push_str("</tbody></table></div></section>");
}

fn throughput(out: &mut String, measured: &[(&Row, &Timed)]) {
    out.push_str("<section><h2>Throughput over time</h2><p>Each level is the mean of a second or more.</p>");
    let drawn: Vec<Line<'_>> = measured
        .iter()
        .map(|(row, timed)| Line {
            label: row.what.label(),
            colour: row.what as usize,
            points: smooth(&timed.figures.samples)
                .iter()
                .flat_map(|sample| held(sample, in_units(sample.bytes_per_second()) / MIB))
                .collect(),
        })
        .collect();
    let most =
        |of: fn(&(f64, f64)) -> f64| drawn.iter().flat_map(|line| line.points.iter().map(of)).fold(0.0, f64::max);
    let words = measured
        .iter()
        .map(|(row, timed)| format!("{} {}", row.what.label(), rate(timed.figures.bytes, timed.figures.took)))
        .collect::<Vec<_>>()
        .join(", ");
    let (x, y) = (
        Axis { label: "seconds since its beginning", most: most(|p| p.0), whole: false },
        Axis { label: "MiB/s", most: most(|p| p.1), whole: false },
    );
    let plot = lines("Throughput over time", &format!("On the mean: {words}."), x, y, 300.0, &drawn, &[]);
    figure(out, &plot, &legend(measured));
    table(
        out,
        "Throughput, of the levels above",
        &["Measurement", "least", "median", "most"],
        measured.iter().map(|(row, timed)| {
            let mut rates: Vec<u64> = smooth(&timed.figures.samples).iter().map(Sample::bytes_per_second).collect();
            rates.sort_unstable();
            let at = |percent| percentile(&rates, percent).unwrap_or(0);
            let said = |value: u64| format!("{}/s", bytes(value));
            vec![row.what.label().to_owned(), said(at(0)), said(at(50)), said(at(100))]
        }),
    );
    out.push_str("</section>");
}

fn latencies(out: &mut String, measured: &[(&Row, &Timed)]) {
    let names = ["p50", "p90", "p99", "max"];
    let mut rows = Vec::new();
    let mut said = Vec::new();
    for (row, _) in measured {
        for (of, latency) in row.latencies() {
            let label = if row.what == What::Relay {
                format!("{}, {of}", row.what.label())
            } else {
                row.what.label().to_owned()
            };
            let values = [latency.p50_us, latency.p90_us, latency.p99_us, latency.max_us];
            let values = names.into_iter().zip(values.map(in_millis)).collect();
            let cells = [label.clone(), latency.count.to_string()];
            said.push(cells.into_iter().chain(times(&latency)).collect::<Vec<_>>());
            rows.push(Marks { label, colour: row.what as usize, values });
        }
    }
    if rows.is_empty() {
        return;
    }
    out.push_str(
        "<section><h2>Latency of requests</h2><p>From the first attempt to the final answer, repetitions included. A ",
    );
    out.push_str(
        "percentile is by nearest rank, so each is a latency that really occurred. The axis is logarithmic.</p>",
    );
    let words = said
        .iter()
        .map(|row| format!("{}: median {}, longest {}", row[0], row[2], row[5]))
        .collect::<Vec<_>>()
        .join("; ");
    let plot = spread("Latency of requests", &words, "milliseconds", &rows);
    let legend = "<ul class=\"legend\"><li>● p50</li><li>■ p90</li><li>◆ p99</li><li>┃ longest</li></ul>";
    figure(out, &plot, legend);
    table(out, "Latency of requests", &["Requests", "count", "p50", "p90", "p99", "longest"], said.into_iter());
    out.push_str("</section>");
}

fn under_way(out: &mut String, measured: &[(&Row, &Timed)]) {
    let ours: Vec<_> = measured.iter().filter(|(row, _)| !matches!(row.what, What::Copy | What::Incremental)).collect();
    if ours.is_empty() {
        return;
    }
    out.push_str(
        "<section><h2>In flight and refused</h2><p>How many requests at once a service takes, and how fast, is ",
    );
    out.push_str("found out from what it refuses; each measurement begins anew.</p>");
    for (row, timed) in &ours {
        let samples = &timed.figures.samples;
        let drawn = Line {
            label: row.what.label(),
            colour: row.what as usize,
            points: samples.iter().flat_map(|sample| held(sample, in_units(sample.in_flight))).collect(),
        };
        let refused: Vec<(f64, f64)> = samples
            .iter()
            .filter(|sample| sample.refused > 0)
            .map(|sample| (at(sample) - in_units(sample.span_ms) / 2000.0, in_units(sample.refused)))
            .collect();
        let most = samples.iter().map(|sample| sample.in_flight.max(sample.refused)).max().unwrap_or(0);
        let words = format!(
            "At most {} requests in flight, {} refused in all.",
            samples.iter().map(|sample| sample.in_flight).max().unwrap_or(0),
            timed.figures.refused
        );
        let x = Axis { label: "seconds since its beginning", most: samples.last().map_or(0.0, at), whole: false };
        let y = Axis { label: "requests", most: in_units(most), whole: true };
        let _ = write!(out, "<h3>{}</h3>", escape(row.what.label()));
        let plot =
            lines(&format!("In flight and refused: {}", row.what.label()), &words, x, y, 170.0, &[drawn], &refused);
        let legend = format!(
            "<ul class=\"legend\"><li>{}in flight</li><li><i class=\"swatch r\"></i>refused</li></ul>",
            swatch(row.what)
        );
        figure(out, &plot, &legend);
    }
    table(
        out,
        "In flight and refused",
        &["Measurement", "most in flight", "requests", "refused"],
        ours.iter().map(|(row, timed)| {
            let most = timed.figures.samples.iter().map(|sample| sample.in_flight).max().unwrap_or(0);
            let figures = &timed.figures;
            vec![
                row.what.label().to_owned(),
                most.to_string(),
                figures.requests.to_string(),
                figures.refused.to_string(),
            ]
        }),
    );
    out.push_str("</section>");
}

fn figure(out: &mut String, plot: &str, legend: &str) {
    let _ = write!(out, "<figure>{plot}<figcaption>{legend}</figcaption></figure>");
}

fn table(out: &mut String, caption: &str, columns: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let _ = write!(
        out,
        "<details><summary>{} as a table</summary><div class=\"scroll\"><table><thead><tr>",
        escape(caption)
    );
    for (index, column) in columns.iter().enumerate() {
        let class = if index == 0 { "" } else { " class=\"n\"" };
        let _ = write!(out, "<th scope=\"col\"{class}>{}</th>", escape(column));
    }
    out.push_str("</tr></thead><tbody>");
    for row in rows {
        out.push_str("<tr>");
        for (index, cell) in row.iter().enumerate() {
            let _ = match index {
                0 => write!(out, "<th scope=\"row\">{}</th>", escape(cell)),
                _ => write!(out, "<td class=\"n\">{}</td>", escape(cell)),
            };
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></div></details>");
}

fn legend(measured: &[(&Row, &Timed)]) -> String {
    let items: String =
        measured.iter().map(|(row, _)| format!("<li>{}{}</li>", swatch(row.what), escape(row.what.label()))).collect();
    format!("<ul class=\"legend\">{items}</ul>")
}

/// A piece of the measurement's line, for a legend.
fn swatch(what: What) -> String {
    format!(
        "<svg class=\"swatch\" viewBox=\"0 0 26 8\" aria-hidden=\"true\"><line class=\"line c{}\" x1=\"1\" x2=\"25\" y1=\"4\" y2=\"4\"/></svg>",
        what as usize
    )
}

/// Intervals long enough that their rates are more than the moments at which requests happen to end.
fn smooth(samples: &[Sample]) -> Vec<Sample> {
    merged(samples, samples.last().map_or(0, |last| last.at_ms / 80).max(1000))
}

fn at(sample: &Sample) -> f64 {
    in_units(sample.at_ms) / 1000.0
}

/// What held for an interval, as the two ends of a level line.
fn held(sample: &Sample, value: f64) -> [(f64, f64); 2] {
    [((in_units(sample.at_ms) - in_units(sample.span_ms)) / 1000.0, value), (at(sample), value)]
}

fn in_millis(micros: u64) -> f64 {
    in_units(micros) / 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "a place in a picture")]
fn in_units(value: u64) -> f64 {
    value as f64
}
