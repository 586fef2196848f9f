//! Plots as SVG text.

use anyhow::Result;
use plotters::coord::Shift;
use plotters::prelude::*;

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
    /// What has the same number has the same colour in all plots of a page.
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
            let line = chart.draw_series(LineSeries::new(series.points.clone(), color.stroke_width(2)))?;
            line.label(&series.name)
                .legend(move |(x, y)| Rectangle::new([(x, y - 4), (x + 12, y + 4)], color.filled()));
            if let [only] = series.points.as_slice() {
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
        chart.draw_series(points.iter().map(|(x, y, name)| {
            EmptyElement::at((*x, *y))
                + Circle::new((0, 0), 4, PALETTE[0].filled())
                + Text::new(name.clone(), (6, -6), (FONT, 11).into_font().color(&INK))
        }))?;
        Ok(())
    })
}

/// Counts by category; those before `middle` in the colour of losses, those behind it in that of gains.
pub(super) fn bars(categories: &[(&str, usize)], middle: usize) -> Result<String> {
    drawn(|root| {
        let highest = categories.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
        let count = categories.len() as i32;
        let mut chart = ChartBuilder::on(root)
            .margin(10)
            .x_label_area_size(36)
            .y_label_area_size(58)
            .build_cartesian_2d((0..count - 1).into_segmented(), 0.0..highest as f64 * 1.12)?;
        let text = (FONT, 12).into_font().color(&INK);
        let name = |place: &SegmentValue<i32>| match place {
            SegmentValue::CenterOf(category) => usize::try_from(*category)
                .ok()
                .and_then(|category| categories.get(category))
                .map_or_else(String::new, |(name, _)| (*name).to_owned()),
            SegmentValue::Exact(_) | SegmentValue::Last => String::new(),
        };
        let mut mesh = chart.configure_mesh();
        mesh.disable_x_mesh().light_line_style(TRANSPARENT).bold_line_style(GRID).axis_style(INK);
        let count = |value: &f64| format!("{value:.0}");
        mesh.x_labels(categories.len()).x_label_formatter(&name).y_desc("captions").y_label_formatter(&count);
        mesh.x_label_style(text.clone()).y_label_style(text.clone()).draw()?;
        chart.draw_series((0i32..).zip(categories).map(|(category, (_, count))| {
            let color = match (category as usize).cmp(&middle) {
                std::cmp::Ordering::Less => PALETTE[1],
                std::cmp::Ordering::Equal => RGBColor(170, 170, 170),
                std::cmp::Ordering::Greater => PALETTE[2],
            };
            let corners =
                [(SegmentValue::Exact(category), 0.0), (SegmentValue::Exact(category + 1), *count as f64)];
            let mut bar = Rectangle::new(corners, color.filled());
            bar.set_margin(0, 0, 6, 6);
            bar
        }))?;
        chart.draw_series((0i32..).zip(categories).map(|(category, (_, count))| {
            let place = (SegmentValue::CenterOf(category), *count as f64);
            EmptyElement::at(place) + Text::new(count.to_string(), (-8, -16), text.clone())
        }))?;
        Ok(())
    })
}

fn drawn(draw: impl FnOnce(&Area<'_>) -> Result<()>) -> Result<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
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

/// From the least to the largest value, never empty.
fn range(values: impl Iterator<Item = f64>) -> std::ops::Range<f64> {
    let finite = values.filter(|value| value.is_finite());
    let (least, largest) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, largest), value| {
        (least.min(value), largest.max(value))
    });
    if least > largest {
        return 0.0..1.0;
    }
    let room = if largest > least { 0.05 * (largest - least) } else { 0.5 * least.abs().max(1.0) };
    least - room..largest + room
}
