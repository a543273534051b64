//! Plots as inline SVG: no script, no font, no address of anything, and a description in words.
//!
//! Colours are classes, which the page gives values for light and for dark. Lines also differ in their dashes, for those
//! who cannot tell the colours apart.

use std::fmt::Write as _;

use crate::bench::html::escape;

const WIDTH: f64 = 860.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 34.0;

/// A line: its name, which of the colours it has, and its points from left to right.
#[derive(Clone, Debug)]
pub(crate) struct Line<'a> {
    pub(crate) label: &'a str,
    pub(crate) colour: usize,
    pub(crate) points: Vec<(f64, f64)>,
}

/// What stands on an axis.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis<'a> {
    pub(crate) label: &'a str,
    pub(crate) most: f64,
    /// Whether it counts things, of which there is no half.
    pub(crate) whole: bool,
}

/// A row of marks on one logarithmic axis: a name, a colour, and values that ascend, each with its own name.
#[derive(Clone, Debug)]
pub(crate) struct Marks<'a> {
    pub(crate) label: String,
    pub(crate) colour: usize,
    pub(crate) values: Vec<(&'a str, f64)>,
}

/// Lines over a common axis; `bars` are single events, drawn from the bottom.
pub(crate) fn lines(
    title: &str,
    words: &str,
    x: Axis<'_>,
    y: Axis<'_>,
    height: f64,
    lines: &[Line<'_>],
    bars: &[(f64, f64)],
) -> String {
    let (across, up) = (WIDTH - LEFT - RIGHT, height - TOP - BOTTOM);
    let (x_step, y_step) = (x.step(8), y.step(5));
    let y_most = (y.most / y_step).ceil().max(1.0) * y_step;
    let x_most = x.most.max(x_step / 10.0);
    let at_x = |value: f64| LEFT + value / x_most * across;
    let at_y = |value: f64| TOP + up - value / y_most * up;
    let mut out = head(title, words, height);
    for index in 0..=ticks(y_most, y_step) {
        let value = f64::from(index) * y_step;
        let y = at_y(value);
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><text class=\"tick\" x=\"{:.1}\" \
             y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            y + 4.0,
            number(value, y_step)
        );
    }
    for index in 0..=ticks(x_most, x_step) {
        let value = f64::from(index) * x_step;
        let _ = write!(
            out,
            "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            at_x(value),
            height - BOTTOM + 16.0,
            number(value, x_step)
        );
    }
    let _ = write!(
        out,
        "<text class=\"axis\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text><text class=\"axis\" x=\"14\" y=\"{:.1}\" \
         text-anchor=\"middle\" transform=\"rotate(-90 14 {:.1})\">{}</text>",
        WIDTH - RIGHT,
        height - 4.0,
        escape(x.label),
        TOP + up / 2.0,
        TOP + up / 2.0,
        escape(y.label)
    );
    for (at, value) in bars {
        let (x, y) = (at_x(*at), at_y(*value));
        let _ =
            write!(out, "<line class=\"refused\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{y:.1}\"/>", TOP + up);
    }
    for line in lines {
        let points: Vec<String> = line.points.iter().map(|(x, y)| format!("{:.1},{:.1}", at_x(*x), at_y(*y))).collect();
        let _ = write!(
            out,
            "<polyline class=\"line c{}\" points=\"{}\"><title>{}</title></polyline>",
            line.colour,
            points.join(" "),
            escape(line.label)
        );
        // A line of one point would not be seen.
        if let [(x, y)] = line.points[..] {
            let _ = write!(
                out,
                "<circle class=\"dot c{}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\"/>",
                line.colour,
                at_x(x),
                at_y(y)
            );
        }
    }
    out.push_str("</svg>");
    out
}

/// Rows of marks over a logarithmic axis in the unit that `label` names. Values are positive.
pub(crate) fn spread(title: &str, words: &str, label: &str, rows: &[Marks<'_>]) -> String {
    const NAMES: f64 = 190.0;
    const ROW: f64 = 34.0;
    let values = || rows.iter().flat_map(|row| row.values.iter().map(|(_, value)| value.max(1e-3)));
    let least = values().fold(f64::INFINITY, f64::min);
    let most = values().fold(f64::NEG_INFINITY, f64::max);
    if rows.is_empty() || !least.is_finite() || !most.is_finite() {
        return String::new();
    }
    let first = least.log10().floor();
    let last = most.log10().ceil().max(first + 1.0);
    let height = TOP + ROW * f64::from(u32::try_from(rows.len()).unwrap_or(u32::MAX)) + BOTTOM;
    let across = WIDTH - NAMES - RIGHT - 24.0;
    let at = |value: f64| NAMES + (value.max(1e-3).log10() - first) / (last - first) * across;
    let bottom = height - BOTTOM;
    let mut out = head(title, words, height);
    let mut decade = first;
    while decade <= last {
        for part in [1.0, 2.0, 5.0] {
            let value = part * 10f64.powf(decade);
            if value.log10() > last + 1e-9 {
                break;
            }
            let x = at(value);
            let class = if part > 1.0 { "grid faint" } else { "grid" };
            let _ =
                write!(out, "<line class=\"{class}\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom:.1}\"/>");
            let _ = write!(
                out,
                "<text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bottom + 16.0,
                number(value, value)
            );
        }
        decade += 1.0;
    }
    let _ = write!(
        out,
        "<text class=\"axis\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
        WIDTH - RIGHT,
        height - 4.0,
        escape(label)
    );
    let mut y = TOP + ROW / 2.0;
    for row in rows {
        let _ = write!(
            out,
            "<text class=\"name\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            NAMES - 14.0,
            y + 4.0,
            escape(&row.label)
        );
        if let (Some((_, low)), Some((_, high))) = (row.values.first(), row.values.last()) {
            let _ = write!(
                out,
                "<line class=\"span c{}\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>",
                row.colour,
                at(*low),
                at(*high)
            );
        }
        for (index, (name, value)) in row.values.iter().enumerate() {
            let (x, class) = (at(*value), format!("mark m{index} c{}", row.colour));
            let said = format!("<title>{} {}: {}</title>", escape(&row.label), escape(name), number(*value, *value));
            let _ = match index {
                0 => write!(out, "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"6\">{said}</circle>"),
                1 => write!(
                    out,
                    "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"9\" height=\"9\">{said}</rect>",
                    x - 4.5,
                    y - 4.5
                ),
                2 => write!(out, "<path class=\"{class}\" d=\"M{x:.1} {:.1}l6 6l-6 6l-6 -6z\">{said}</path>", y - 6.0),
                _ => write!(out, "<path class=\"{class}\" d=\"M{x:.1} {:.1}v14\">{said}</path>", y - 7.0),
            };
        }
        y += ROW;
    }
    out.push_str("</svg>");
    out
}

fn head(title: &str, words: &str, height: f64) -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\"><title>{}</title><desc>{}</desc>",
        escape(title),
        escape(words)
    )
}

impl Axis<'_> {
    fn step(&self, count: u32) -> f64 {
        match step(self.most, count) {
            step if self.whole => step.ceil(),
            step => step,
        }
    }
}

/// A round distance between ticks, so that there are at most `count` of them up to `most`.
fn step(most: f64, count: u32) -> f64 {
    let rough = (most / f64::from(count)).max(1e-3);
    let power = 10f64.powf(rough.log10().floor());
    let part = [1.0, 2.0, 2.5, 5.0].into_iter().find(|part| part * power >= rough * 0.999).unwrap_or(10.0);
    part * power
}

/// How many steps there are up to `most`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bounded: at most ten by choice of the step"
)]
fn ticks(most: f64, step: f64) -> u32 {
    (most / step + 1e-6).floor().clamp(0.0, 40.0) as u32
}

/// A value with as many digits, three at most, as its neighbours at a distance of `step` need.
fn number(value: f64, step: f64) -> String {
    let exact = |digits: i32| {
        let scaled = step * 10f64.powi(digits);
        (scaled - scaled.round()).abs() < 1e-6
    };
    let digits = [0u8, 1, 2].into_iter().find(|digits| exact(i32::from(*digits))).map_or(3, usize::from);
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round_and_few() {
        for (most, count, expected) in
            [(100.0, 5, 20.0), (7.0, 8, 1.0), (61.0, 5, 20.0), (0.9, 5, 0.2), (1200.0, 5, 250.0)]
        {
            assert!((step(most, count) - expected).abs() < 1e-9, "{most}: {}", step(most, count));
        }
        for most in [0.0, 1e-9, 3.3, 777.0, 1e9] {
            let step = step(most, 5);
            assert!(step > 0.0 && ticks(most, step) <= 5, "{most}");
        }
    }

    #[test]
    fn ticks_have_the_digits_they_need() {
        let said = [(0.75, 0.25), (40.0, 20.0), (7.5, 2.5), (0.004, 0.002), (0.3, 0.1)].map(|(v, s)| number(v, s));
        assert_eq!(said, ["0.75", "40", "7.5", "0.004", "0.3"]);
    }

    #[test]
    fn a_plot_says_in_words_what_it_shows_and_stays_within_itself() {
        let line = Line { label: "a <b>", colour: 0, points: vec![(0.0, 1.0), (2.0, 5.0)] };
        let (x, y) = (Axis { label: "s", most: 2.0, whole: false }, Axis { label: "MiB/s", most: 5.0, whole: false });
        let plot = lines("Speed", "goes up & up", x, y, 200.0, &[line], &[(1.0, 2.0)]);
        assert!(plot.contains("<title>Speed</title><desc>goes up &amp; up</desc>"), "{plot}");
        assert!(plot.contains("<title>a &lt;b&gt;</title>") && !plot.contains("<b>"));
        let points = plot.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
        assert_eq!(
            points,
            format!("{LEFT:.1},{:.1} {:.1},{TOP:.1}", TOP + (200.0 - TOP - BOTTOM) * 0.8, WIDTH - RIGHT)
        );
        assert!(!plot.contains("NaN") && !plot.contains("inf"));
    }

    #[test]
    fn a_plot_of_nothing_has_no_holes() {
        let (x, y) = (Axis { label: "s", most: 0.0, whole: false }, Axis { label: "MiB/s", most: 0.0, whole: false });
        let plot = lines("Speed", "", x, y, 200.0, &[Line { label: "a", colour: 0, points: vec![(0.0, 0.0)] }], &[]);
        assert!(!plot.contains("NaN") && !plot.contains("inf"), "{plot}");
        assert_eq!(spread("Latency", "", "ms", &[]), "");
        let row = Marks { label: "a".to_owned(), colour: 0, values: vec![("p50", 0.0), ("max", 0.0)] };
        let plot = spread("Latency", "", "ms", &[row]);
        assert!(!plot.contains("NaN") && !plot.contains("inf"), "{plot}");
    }
}
