//! The timeline of a benchmark as a picture (SVG): what clients see around a trigger, a line for each target.

use plotters::backend::SVGBackend;
use plotters::chart::{ChartBuilder, SeriesLabelPosition};
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::PathElement;
use plotters::series::LineSeries;
use plotters::style::{BLACK, Color, RGBColor, WHITE};

use crate::bench::{BenchReport, SLICE_MS, Slice};

/// Pixels.
const SIZE: (u32, u32) = (880, 1000);

/// Told apart by everybody (Okabe and Ito, "Color Universal Design", 2008).
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];

/// One of the pictures below each other.
struct Panel {
    title: &'static str,
    of: fn(&Slice) -> Option<f64>,
}

const PANELS: [Panel; 4] = [
    Panel { title: "answers per second", of: |slice| Some(slice.answers_per_s) },
    Panel { title: "answers of the new generation, %", of: |slice| slice.by_new.map(|share| 100.0 * share) },
    Panel { title: "median of fresh requests, ms", of: |slice| slice.fresh_p50_ms },
    Panel { title: "99th percentile of fresh requests, ms", of: |slice| slice.fresh_p99_ms },
];

type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// The picture.
#[must_use]
pub fn svg(report: &BenchReport) -> String {
    let mut text = String::new();
    draw(report, SVGBackend::with_string(&mut text, SIZE)).expect("a text takes everything");
    text
}

fn draw(report: &BenchReport, to: SVGBackend<'_>) -> Drawn {
    let area = to.into_drawing_area();
    area.fill(&WHITE)?;
    for (nth, (panel, on)) in PANELS.iter().zip(area.split_evenly((PANELS.len(), 1))).enumerate() {
        draw_panel(report, panel, nth == 0, &on)?;
    }
    area.present()
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds around a trigger")]
fn draw_panel(report: &BenchReport, panel: &Panel, named: bool, on: &DrawingArea<SVGBackend<'_>, Shift>) -> Drawn {
    let middle = |slice: &Slice| slice.at_ms as f64 + SLICE_MS as f64 / 2.0;
    let all = || report.rows.iter().flat_map(|row| &row.timeline);
    let ends = all().map(|slice| slice.at_ms as f64);
    let (from, to) = ends.fold((0.0_f64, 0.0_f64), |(from, to), at| (from.min(at), to.max(at + SLICE_MS as f64)));
    // Never nothing: an axis has a length.
    let highest = 1.1 * all().filter_map(panel.of).fold(0.01, f64::max);
    let mut chart = ChartBuilder::on(on)
        .caption(panel.title, ("sans-serif", 15))
        .margin(8)
        .margin_right(24)
        .x_label_area_size(32)
        .y_label_area_size(56)
        .build_cartesian_2d(from..to, 0.0..highest)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("ms after the trigger")
        .x_label_formatter(&|x| format!("{x:.0}"))
        .draw()?;
    chart.draw_series(LineSeries::new([(0.0, 0.0), (0.0, highest)], BLACK.mix(0.5)))?;
    for (row, colour) in report.rows.iter().zip(COLOURS.into_iter().cycle()) {
        let points = row.timeline.iter().filter_map(|slice| Some((middle(slice), (panel.of)(slice)?)));
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
            .label(row.target.as_str())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    if !named {
        return Ok(());
    }
    // The first panel's lines are near its top: its lower half is free.
    let place = SeriesLabelPosition::LowerRight;
    chart.configure_series_labels().position(place).background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.3)).draw()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Noise, Row};
    use crate::machine::Tier;
    use crate::report::sample;

    fn report(targets: &[&str]) -> BenchReport {
        let slice = |at_ms| Slice {
            at_ms,
            answers_per_s: 200.0,
            by_new: (at_ms >= 0).then_some(1.0),
            failed: 0,
            fresh_p50_ms: Some(0.3),
            fresh_p99_ms: Some(0.9),
            fresh_p999_ms: None,
        };
        let row = |target: &&str| Row {
            target: (*target).to_owned(),
            is_yardstick: false,
            upgrades: 1,
            took_over: 1,
            requests: 6,
            failed: 0,
            figures: Vec::new(),
            poorest: Some(1.0),
            timeline: [-10, 0, 10].map(slice).to_vec(),
        };
        BenchReport {
            format: crate::bench::FORMAT,
            version: "0.0.0",
            commit: None,
            began: String::new(),
            machine: sample::machine(Tier::A),
            scenario: String::new(),
            rounds: 1,
            seed: 1,
            rows: targets.iter().map(row).collect(),
            not_run: Vec::new(),
            noise: Noise::default(),
        }
    }

    #[test]
    fn each_panel_has_a_line_for_each_target_and_the_first_names_it() {
        let picture = svg(&report(&["one", "another"]));
        assert!(picture.starts_with("<svg ") && picture.trim_end().ends_with("</svg>"), "{picture}");
        for panel in PANELS {
            assert!(picture.contains(panel.title), "{}", panel.title);
        }
        assert_eq!(picture.matches("another").count(), 1);
        // The first target's line in each panel, and beside its name.
        assert_eq!(picture.matches("#0072B2").count(), PANELS.len() + 1, "{picture}");
    }

    #[test]
    fn of_nothing_there_is_an_empty_picture() {
        assert!(svg(&report(&[])).contains("ms after the trigger"));
    }
}
