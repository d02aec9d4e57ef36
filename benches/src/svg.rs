//! Plots as SVG: lines with marks over two axes. Only what the figures need.

use std::fmt::Write as _;

/// A plot.
pub(crate) struct Plot {
    pub(crate) title: &'static str,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) lines: Vec<Line>,
}

/// An axis. It shows all values; a linear one begins at 0.
pub(crate) struct Axis {
    pub(crate) name: &'static str,
    pub(crate) scale: Scale,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    Linear,
    Logarithmic,
}

/// The points of one kind, in order.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

impl Plot {
    /// The picture; none if there is no point to draw.
    pub(crate) fn draw(&self) -> Option<String> {
        let all = || self.lines.iter().flat_map(|line| &line.points);
        let x = Range::of(all().map(|point| point.0), self.x.scale)?;
        let y = Range::of(all().map(|point| point.1), self.y.scale)?;
        let at = |(px, py): (f64, f64)| (LEFT + x.share(px) * PLOT_WIDTH, TOP + (1.0 - y.share(py)) * PLOT_HEIGHT);
        let mut out = String::new();
        out.push_str(&format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
        ));
        text(&mut out, WIDTH / 2.0, 22.0, "middle", self.title);
        text(&mut out, LEFT + PLOT_WIDTH / 2.0, HEIGHT - 12.0, "middle", self.x.name);
        text(&mut out, LEFT - 50.0, TOP - 12.0, "start", self.y.name);
        for tick in x.ticks() {
            let left = at((tick, y.low)).0;
            rule(&mut out, (left, TOP), (left, TOP + PLOT_HEIGHT));
            text(&mut out, left, TOP + PLOT_HEIGHT + 18.0, "middle", &label(tick));
        }
        for tick in y.ticks() {
            let top = at((x.low, tick)).1;
            rule(&mut out, (LEFT, top), (LEFT + PLOT_WIDTH, top));
            text(&mut out, LEFT - 8.0, top + 4.0, "end", &label(tick));
        }
        for (number, line) in self.lines.iter().enumerate() {
            let color = COLORS[number % COLORS.len()];
            let points: Vec<String> = line
                .points
                .iter()
                .map(|point| at(*point))
                .map(|(x, y)| format!("{x:.1},{y:.1}"))
                .collect();
            let _ = writeln!(
                out,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>",
                points.join(" ")
            );
            for (x, y) in line.points.iter().map(|point| at(*point)) {
                let _ = writeln!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{color}\"/>");
            }
            let top = TOP + 10.0 + 20.0 * number as f64;
            let left = LEFT + PLOT_WIDTH + 16.0;
            let _ = writeln!(
                out,
                "<rect x=\"{left}\" y=\"{}\" width=\"12\" height=\"4\" fill=\"{color}\"/>",
                top - 6.0
            );
            text(&mut out, left + 18.0, top, "start", &line.name);
        }
        out.push_str("</svg>\n");
        Some(out)
    }
}

/// From where to where an axis goes.
struct Range {
    low: f64,
    high: f64,
    scale: Scale,
}

impl Range {
    fn of(values: impl Iterator<Item = f64>, scale: Scale) -> Option<Self> {
        let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
        for value in values.filter(|value| value.is_finite() && *value > 0.0) {
            (low, high) = (low.min(value), high.max(value));
        }
        if high == 0.0 {
            return None;
        }
        let (low, high) = match scale {
            Scale::Linear => (0.0, high * 1.05),
            // One value alone needs room too.
            Scale::Logarithmic => (low, high.max(low * 1.01)),
        };
        Some(Self { low, high, scale })
    }

    /// Where a value lies, from 0 to 1.
    fn share(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => value / self.high,
            Scale::Logarithmic => (value.max(self.low) / self.low).ln() / (self.high / self.low).ln(),
        }
    }

    /// Round values to name: 1, 2 and 5 of each power of ten for a logarithmic axis, steps of such a size for a linear one.
    fn ticks(&self) -> Vec<f64> {
        let powers = |from: i32| (from..=12).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(power)));
        match self.scale {
            Scale::Logarithmic => {
                let all: Vec<f64> = powers(-6)
                    .filter(|tick| (self.low * 0.999..=self.high * 1.001).contains(tick))
                    .collect();
                let decades: Vec<f64> = all
                    .iter()
                    .copied()
                    .filter(|tick| tick.log10().fract().abs() < 1e-9)
                    .collect();
                if all.len() > TICKS_MAX { decades } else { all }
            }
            Scale::Linear => {
                let step = powers(-6)
                    .find(|step| self.high / step <= TICKS_MAX as f64)
                    .unwrap_or(self.high);
                (0..=TICKS_MAX)
                    .map(|n| n as f64 * step)
                    .filter(|tick| *tick <= self.high)
                    .collect()
            }
        }
    }
}

fn rule(out: &mut String, from: (f64, f64), to: (f64, f64)) {
    let ((x1, y1), (x2, y2)) = (from, to);
    let _ = writeln!(
        out,
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"#ddd\"/>"
    );
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
    );
}

fn label(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{}M", v / 1e6),
        v if v >= 1e3 => format!("{}k", v / 1e3),
        v if v >= 1.0 => format!("{v:.0}"),
        v => format!("{}", (v * 1e6).round() / 1e6),
    }
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 60.0;
const PLOT_WIDTH: f64 = 520.0;
const PLOT_HEIGHT: f64 = 300.0;
const TICKS_MAX: usize = 8;
/// Told apart by people who do not see all colours (Okabe and Ito).
const COLORS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(scale: Scale, points: &[(f64, f64)]) -> Plot {
        let axis = |name| Axis { name, scale };
        let line = Line {
            name: "a<b".to_owned(),
            points: points.to_vec(),
        };
        Plot {
            title: "t",
            x: axis("x"),
            y: axis("y"),
            lines: vec![line],
        }
    }

    #[test]
    fn points_lie_where_the_axes_say() {
        let drawn = plot(Scale::Logarithmic, &[(1.0, 1.0), (10.0, 100.0), (100.0, 10.0)])
            .draw()
            .unwrap();
        assert!(
            drawn.contains("points=\"70.0,360.0 330.0,60.0 590.0,210.0\""),
            "{drawn}"
        );
        assert!(drawn.contains("a&lt;b") && drawn.trim_end().ends_with("</svg>"));
        assert!(plot(Scale::Linear, &[]).draw().is_none());
    }

    #[test]
    fn ticks_are_round_and_few() {
        let linear = Range::of([7_862.0].into_iter(), Scale::Linear).unwrap();
        assert_eq!(linear.ticks(), [0.0, 2e3, 4e3, 6e3, 8e3]);
        let in_flight = Range::of([1.0, 256.0].into_iter(), Scale::Logarithmic).unwrap();
        assert_eq!(in_flight.ticks(), [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0]);
        let sizes = Range::of([1e3, 1e6].into_iter(), Scale::Logarithmic).unwrap();
        assert_eq!(sizes.ticks(), [1e3, 1e4, 1e5, 1e6]);
        assert_eq!([0.5, 2.0, 1e3, 2.5e6].map(label), ["0.5", "2", "1k", "2.5M"]);
    }
}
