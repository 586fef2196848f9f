//! Plots as SVG text.

use anyhow::Result;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

const SIZE: (u32, u32) = (560, 300);
const GRID: RGBColor = RGBColor(225, 225, 225);
const INK: RGBColor = RGBColor(60, 60, 60);
const FONT: &str = "sans-serif";

/// Colours that remain apart for most kinds of colour blindness (Okabe and Ito).
const PALETTE: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(40, 40, 40),
];

/// A named line.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Series {
    pub(super) name: String,
    /// Series of the same number have the same colour in all plots of a page.
    pub(super) number: usize,
    pub(super) points: Vec<(f64, f64)>,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Lines over a common horizontal axis.
pub(super) fn lines(horizontal: &str, series: &[Series]) -> Result<String> {
    drawn(|root| {
        let all = || series.iter().flat_map(|series| &series.points);
        let (x, y) = (range(all().map(|point| point.0)), range(all().map(|point| point.1)));
        let mut chart = ChartBuilder::on(root)
            .margin(10)
            .x_label_area_size(36)
            .y_label_area_size(58)
            .build_cartesian_2d(x, y)?;
        let text = (FONT, 12).into_font().color(&INK);
        let mut mesh = chart.configure_mesh();
        mesh.x_desc(horizontal).light_line_style(TRANSPARENT).bold_line_style(GRID).axis_style(INK);
        mesh.x_label_formatter(&tick).y_label_formatter(&tick);
        mesh.x_label_style(text.clone()).y_label_style(text.clone()).x_labels(6).y_labels(6).draw()?;
        for series in series {
            let color = PALETTE.get(series.number % PALETTE.len()).copied().unwrap_or(INK);
            let drawn = series.points.iter().copied();
            let points: Vec<(f64, f64)> =
                drawn.filter(|(x, y)| can_be_drawn(*x) && can_be_drawn(*y)).collect();
            let line = chart.draw_series(LineSeries::new(points.clone(), color.stroke_width(2)))?;
            line.label(&series.name)
                .legend(move |(x, y)| Rectangle::new([(x, y - 4), (x + 12, y + 4)], color.filled()));
            if let [only] = points.as_slice() {
                chart.draw_series([Circle::new(*only, 4, color.filled())])?;
            }
        }
        if series.len() > 1 {
            let mut labels = chart.configure_series_labels();
            labels.background_style(WHITE.mix(0.85)).border_style(GRID).label_font(text).draw()?;
        }
        Ok(())
    })
}

/// One value against another, a dot each, with a name at each.
pub(super) fn dots(axes: (&str, &str), points: &[(f64, f64, String)]) -> Result<String> {
    drawn(|root| {
        let (x, y) = (range(points.iter().map(|point| point.0)), range(points.iter().map(|point| point.1)));
        let mut chart = ChartBuilder::on(root)
            .margin(10)
            .x_label_area_size(36)
            .y_label_area_size(58)
            .build_cartesian_2d(x, y)?;
        let text = (FONT, 12).into_font().color(&INK);
        let mut mesh = chart.configure_mesh();
        mesh.x_desc(axes.0)
            .y_desc(axes.1)
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(INK)
            .x_label_formatter(&tick)
            .y_label_formatter(&tick);
        mesh.x_label_style(text.clone()).y_label_style(text.clone()).draw()?;
        let points = points.iter().filter(|(x, y, _)| can_be_drawn(*x) && can_be_drawn(*y));
        chart.draw_series(points.map(|(x, y, name)| {
            EmptyElement::at((*x, *y))
                + Circle::new((0, 0), 4, PALETTE[0].filled())
                + Text::new(name.clone(), (6, -6), (FONT, 11).into_font().color(&INK))
        }))?;
        Ok(())
    })
}

/// Counts by category, in one or several series side by side.
pub(super) struct Bars<'a> {
    pub(super) categories: Vec<String>,
    /// The name of each series and its counts, one a category.
    pub(super) series: Vec<(&'a str, Vec<u64>)>,
    /// What is counted.
    pub(super) counted: &'a str,
    /// The category where nothing changed: those before it have the colour of losses, those behind it that of gains.
    pub(super) unchanged: Option<usize>,
    /// Whether the chart takes the whole width of the page, which long names of categories need.
    pub(super) wide: bool,
}

impl Bars<'_> {
    /// The chart.
    pub(super) fn svg(&self) -> Result<String> {
        let width = if self.wide { 2 * SIZE.0 } else { SIZE.0 };
        drawn_in((width, SIZE.1), |root| self.draw(root))
    }

    fn draw(&self, root: &Area<'_>) -> Result<()> {
        let highest = self.series.iter().flat_map(|(_, counts)| counts).copied().max().unwrap_or(0).max(1);
        let scale = highest as f64 * 1.12;
        let mut chart = ChartBuilder::on(root)
            .margin(10)
            .x_label_area_size(36)
            .y_label_area_size(58)
            .build_cartesian_2d(0.0..self.categories.len().max(1) as f64, 0.0..scale)?;
        let text = (FONT, 12).into_font().color(&INK);
        let mut mesh = chart.configure_mesh();
        mesh.disable_x_mesh().light_line_style(TRANSPARENT).bold_line_style(GRID).axis_style(INK);
        let count = |value: &f64| format!("{value:.0}");
        mesh.x_labels(0).y_desc(self.counted).y_label_formatter(&count);
        mesh.y_label_style(text.clone()).draw()?;
        let centred = text.clone().pos(Pos::new(HPos::Center, VPos::Bottom));
        let bar = 0.8 / self.series.len().max(1) as f64;
        for (category, name) in self.categories.iter().enumerate() {
            let middle = (category as f64 + 0.5, 0.0);
            chart.draw_series([
                EmptyElement::at(middle) + Text::new(name.clone(), (0, 20), centred.clone())
            ])?;
            for (number, (_, counts)) in self.series.iter().enumerate() {
                let count = counts.get(category).copied().unwrap_or(0) as f64;
                let left = category as f64 + 0.1 + bar * number as f64;
                let color = self.color(number, category);
                chart.draw_series([Rectangle::new(
                    [(left, 0.0), (left + bar * 0.95, count)],
                    color.filled(),
                )])?;
                let top = (left + bar / 2.0, count);
                let label = Text::new(format!("{count:.0}"), (0, -3), centred.clone());
                chart.draw_series([EmptyElement::at(top) + label])?;
            }
        }
        if self.series.len() > 1 {
            let width = root.dim_in_pixel().0 as i32;
            for (number, (name, _)) in self.series.iter().enumerate() {
                let (left, top) = (width - 120, 14 + 16 * number as i32);
                let square = [(left, top), (left + 10, top + 10)];
                root.draw(&Rectangle::new(square, self.color(number, 0).filled()))?;
                root.draw(&Text::new((*name).to_owned(), (left + 15, top), text.clone()))?;
            }
        }
        Ok(())
    }

    fn color(&self, series: usize, category: usize) -> RGBColor {
        match self.unchanged.map(|unchanged| category.cmp(&unchanged)) {
            Some(std::cmp::Ordering::Less) => PALETTE[1],
            Some(std::cmp::Ordering::Equal) => RGBColor(170, 170, 170),
            Some(std::cmp::Ordering::Greater) => PALETTE[2],
            None => PALETTE.get(series % PALETTE.len()).copied().unwrap_or(INK),
        }
    }
}

fn drawn(draw: impl FnOnce(&Area<'_>) -> Result<()>) -> Result<String> {
    drawn_in(SIZE, draw)
}

fn drawn_in(size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Result<()>) -> Result<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE)?;
        draw(&root)?;
        root.present()?;
    }
    Ok(svg)
}

/// A number on an axis, without zeros that say nothing.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "what the library asks for")]
fn tick(value: &f64) -> String {
    let text = format!("{value:.6}");
    let short = text.trim_end_matches('0').trim_end_matches('.');
    if short == "-0" { "0".to_owned() } else { short.to_owned() }
}

/// Larger values than any run measures: axes that reach them cannot be divided into numbers that differ.
const LARGEST: f64 = 1e12;
/// The least part of its numbers' size that an axis spans. Below it, one mark plus a step is the same mark again.
const LEAST_SPAN: f64 = 1e-6;

fn can_be_drawn(value: f64) -> bool {
    value.is_finite() && value.abs() <= LARGEST
}

/// From the least to the largest value, never empty.
fn range(values: impl Iterator<Item = f64>) -> std::ops::Range<f64> {
    let drawn = values.filter(|value| can_be_drawn(*value));
    let (least, largest) = drawn.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, largest), value| {
        (least.min(value), largest.max(value))
    });
    if least > largest {
        return 0.0..1.0;
    }
    let magnitude = least.abs().max(largest.abs());
    let room = if largest - least > LEAST_SPAN * magnitude && largest - least > 1e-9 {
        0.05 * (largest - least)
    } else {
        0.5 * magnitude.max(1.0)
    };
    least - room..largest + room
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_bounded_whatever_was_logged() {
        let far =
            [0.0, 1.0, 2f64.powi(53), 2f64.powi(53) + 2.0, 1e18, 1e300, -1e300, f64::MAX, f64::NAN, 5e-324];
        for x in far {
            for y in far {
                let points = vec![(x, y), (y, x), (x + 1.0, y + 1.0), (1.0, 1.0 + 1e-15)];
                let series = [Series { name: "a".into(), number: 0, points: points.clone() }];
                assert!(lines("step", &series).unwrap().len() < 100_000);
                let named: Vec<_> = points.into_iter().map(|(x, y)| (x, y, String::new())).collect();
                assert!(dots(("a", "b"), &named).unwrap().len() < 100_000);
            }
        }
        assert_eq!(range([3.0, 5.0].into_iter()), 2.9..5.1);
    }

    #[test]
    fn a_chart_has_a_bar_for_every_count_and_escapes_names() {
        let bars = Bars {
            categories: vec!["1".to_owned(), "2–3 & <4>".to_owned()],
            series: vec![("before", vec![3, 4]), ("after", vec![6, 0])],
            counted: "queries",
            unchanged: None,
            wide: false,
        };
        let svg = bars.svg().unwrap();
        assert!(svg.trim_start().starts_with("<svg") && svg.contains("before"), "{svg}");
        // Four bars, two squares of the legend, the background.
        assert_eq!(svg.matches("<rect").count(), 4 + 2 + 1, "{svg}");
        assert!(!svg.contains("<4>"), "{svg}");
        assert!(Bars { categories: Vec::new(), series: Vec::new(), ..bars }.svg().is_ok());
    }
}
