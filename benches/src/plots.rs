//! The plots of the matrix, drawn from its figures.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::svg::{Axis, Line, Plot, Scale};

/// Draws all plots that there are figures for; gives their files.
pub(crate) fn draw(figures: &Value, directory: &Path) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let rows = figures["rows"]
        .as_array()
        .context("there are no rows among the figures")?;
    let mut files = Vec::new();
    for (name, plot) in plots(rows) {
        if let Some(picture) = plot.draw() {
            let file = directory.join(name);
            std::fs::write(&file, picture).with_context(|| format!("cannot write {}", file.display()))?;
            files.push(file);
        }
    }
    ensure!(!files.is_empty(), "the figures hold nothing to draw");
    Ok(files)
}

fn plots(rows: &[Value]) -> Vec<(&'static str, Plot)> {
    let axis = |name, scale| Axis { name, scale };
    let in_flight = || axis("requests in flight", Scale::Logarithmic);
    let secrets = || axis("secrets of 1 KiB", Scale::Logarithmic);
    let millis = || axis("p99, ms", Scale::Logarithmic);
    vec![
        (
            "rate-in-flight.svg",
            Plot {
                title: "Rate against requests in flight",
                x: in_flight(),
                y: axis("requests/s", Scale::Linear),
                lines: lines(rows, "closed", "concurrency", "rate"),
            },
        ),
        (
            "p99-in-flight.svg",
            Plot {
                title: "p99 against requests in flight",
                x: in_flight(),
                y: millis(),
                lines: lines(rows, "closed", "concurrency", "p99_ms"),
            },
        ),
        (
            "p99-size.svg",
            Plot {
                title: "p99 against the size of the data, 64 in flight",
                x: secrets(),
                y: millis(),
                lines: lines(rows, "size", "keys", "p99_ms"),
            },
        ),
        (
            "p99-size-one-rate.svg",
            Plot {
                title: "p99 against the size of the data, at half the highest rate of the smallest",
                x: secrets(),
                y: millis(),
                lines: lines(rows, "size at one rate", "keys", "p99_ms"),
            },
        ),
    ]
}

/// A line for each mix of this part.
fn lines(rows: &[Value], part: &str, x: &str, y: &str) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for row in rows.iter().filter(|row| row["part"] == part) {
        let (Some(mix), Some(x), Some(y)) = (row["mix"].as_str(), row[x].as_f64(), row[y].as_f64()) else {
            continue;
        };
        match lines.iter_mut().find(|line| line.name == mix) {
            Some(line) => line.points.push((x, y)),
            None => lines.push(Line {
                name: mix.to_owned(),
                points: vec![(x, y)],
            }),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lines_are_of_mixes() {
        let rows = [
            json!({ "part": "closed", "mix": "read", "concurrency": 1, "rate": 10.0 }),
            json!({ "part": "closed", "mix": "write", "concurrency": 1, "rate": 5.0 }),
            json!({ "part": "closed", "mix": "read", "concurrency": 8, "rate": 40.0 }),
            json!({ "part": "half", "mix": "read", "concurrency": 8, "rate": 20.0 }),
            json!({ "part": "closed", "mix": "write", "concurrency": 8, "rate": null }),
        ];
        let lines = lines(&rows, "closed", "concurrency", "rate");
        let read = &lines[0];
        assert_eq!(
            (read.name.as_str(), read.points.as_slice()),
            ("read", &[(1.0, 10.0), (8.0, 40.0)][..])
        );
        assert_eq!(lines[1].points.len(), 1);
    }
}
