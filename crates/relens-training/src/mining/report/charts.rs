//! Bar charts as SVG.

use plotters::coord::ranged1d::SegmentValue;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::{Result, TrainingError};

const HEIGHT: u32 = 260;
/// The widest bar in pixels: few bars do not become walls.
const WIDEST_BAR: f64 = 60.0;
/// Over narrower bars no number is written: it would run into the next.
const NARROWEST_LABELLED_BAR: f64 = 24.0;
/// The colours of the series, in order: readable beside each other without telling red from green.
const COLOURS: [RGBColor; 2] = [RGBColor(150, 160, 175), RGBColor(30, 100, 200)];

/// One series of a chart: its name and a value for every label.
pub(super) struct Series<'a> {
    pub(super) name: &'a str,
    pub(super) values: Vec<u64>,
}

/// How much of the page a chart takes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Width {
    /// Two stand side by side.
    Half,
    /// Room for long labels.
    Full,
}

impl Width {
    fn pixels(self) -> u32 {
        match self {
            Self::Half => 540,
            Self::Full => 1096,
        }
    }
}

/// Bars side by side for each label, as an `<svg>` element.
pub(super) fn bars(width: Width, labels: &[String], series: &[Series<'_>]) -> Result<String> {
    let mut svg = String::new();
    draw(&mut svg, width, labels, series)
        .map_err(|error| TrainingError::argument("chart", "a chart that can be drawn", error.to_string()))?;
    Ok(svg)
}

fn draw(
    svg: &mut String,
    width: Width,
    labels: &[String],
    series: &[Series<'_>],
) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let highest = series.iter().flat_map(|series| &series.values).copied().max().unwrap_or(0).max(1);
    let root = SVGBackend::with_string(svg, (width.pixels(), HEIGHT)).into_drawing_area();
    let count = labels.len().max(1);
    let mut chart = ChartBuilder::on(&root)
        .margin(8)
        .x_label_area_size(28)
        .y_label_area_size(52)
        .build_cartesian_2d((0..count - 1).into_segmented(), 0f64..highest as f64 * 1.08)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(count)
        .x_label_formatter(&|position| match position {
            SegmentValue::CenterOf(position) => labels.get(*position).cloned().unwrap_or_default(),
            _ => String::new(),
        })
        .y_label_formatter(&|value| format!("{value:.0}"))
        .draw()?;
    // In pixels of the plotting area: segmented coordinates have no fractions.
    let area = chart.plotting_area();
    let (x, y) = (area.get_x_axis_pixel_range(), area.get_y_axis_pixel_range());
    let (left, right) = (x.start.min(x.end), x.start.max(x.end));
    let (top, bottom) = (y.start.min(y.end), y.start.max(y.end));
    let slot = f64::from(right - left) / count as f64;
    let bar = (slot * 0.8 / series.len().max(1) as f64).min(WIDEST_BAR);
    let margin = (slot - bar * series.len() as f64) / 2.0;
    let style = ("sans-serif", 12).into_font().color(&BLACK);
    for (number, one) in series.iter().enumerate() {
        let colour = COLOURS.get(number % COLOURS.len()).copied().unwrap_or(BLACK);
        for (position, value) in one.values.iter().enumerate() {
            let start = f64::from(left) + slot * position as f64 + margin + bar * number as f64;
            let height = f64::from(bottom - top) * *value as f64 / (highest as f64 * 1.08);
            let corners =
                [(start as i32, bottom - height.round() as i32), ((start + bar) as i32 - 1, bottom)];
            root.draw(&Rectangle::new(corners, colour.filled()))?;
            if bar >= NARROWEST_LABELLED_BAR {
                let place = ((start + bar / 2.0) as i32, corners[0].1 - 2);
                let centred = style.clone().pos(Pos::new(HPos::Center, VPos::Bottom));
                root.draw(&Text::new(value.to_string(), place, centred))?;
            }
        }
        if series.len() > 1 {
            let legend = (right - 120, top + 4 + 16 * number as i32);
            root.draw(&Rectangle::new([legend, (legend.0 + 10, legend.1 + 10)], colour.filled()))?;
            root.draw(&Text::new(one.name.to_owned(), (legend.0 + 15, legend.1), style.clone()))?;
        }
    }
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_a_bar_for_every_value_and_escapes_names() {
        let labels = ["1".to_owned(), "2–3 & <4>".to_owned()];
        let series =
            [Series { name: "before", values: vec![3, 4] }, Series { name: "after", values: vec![6, 0] }];
        let svg = bars(Width::Half, &labels, &series).unwrap();
        assert!(svg.trim_start().starts_with("<svg") && svg.contains("before"), "{svg}");
        assert_eq!(svg.matches("<rect").count(), 4 + 2, "{svg}");
        assert!(!svg.contains("<4>"), "{svg}");
        assert!(bars(Width::Full, &[], &[]).is_ok());
    }
}
