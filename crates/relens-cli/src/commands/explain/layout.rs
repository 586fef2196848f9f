//! The sheet: the picture, then a column for each side with its heat map and its words.

use image::RgbImage;
use relens::explanation::heat;

use super::canvas::{BLACK, Canvas, GREY, Lettering, Place};
use super::{Side, WeightedAttribution};
use crate::pixel_explanation::{Detail, Method};

/// A picture's longer side on the sheet.
const PANEL: u32 = 380;
const MARGIN: u32 = 16;
/// Around a word's colour.
const PADDING: u32 = 3;

/// One line of a column: words with a colour each, or plain text.
enum SheetLine {
    Plain(String),
    Words(Vec<(String, f64)>),
}

/// Draws everything.
pub(super) fn draw(query: &str, picture: &RgbImage, sides: &[Side], method: Method) -> RgbImage {
    let shown = |side: &Side| match method {
        Method::IntegratedGradients => heat::smoothed(&side.pixels.map),
        Method::Mask => side.pixels.map.clone(),
    };
    let maps: Vec<_> = sides.iter().map(shown).collect();
    let scale = match method {
        Method::IntegratedGradients => heat::common_scale(maps.iter()),
        Method::Mask => 1.0,
    };
    let all_words = sides.iter().flat_map(|side| &side.texts).flat_map(|text| &text.words.words);
    let word_scale = all_words.map(|word| word.value.abs()).fold(0.0, f64::max);

    let plain = heat::enlarged(picture, PANEL);
    let first: Vec<SheetLine> = wrapped(query, Lettering::Large).into_iter().map(SheetLine::Plain).collect();
    let columns: Vec<Vec<SheetLine>> = std::iter::once(first).chain(sides.iter().map(lines)).collect();
    let below = columns.iter().map(|lines| height_of(lines)).max().unwrap_or(0);
    let top = MARGIN + Lettering::Large.height() + MARGIN / 2;
    let text_top = top + plain.height() + MARGIN / 2;
    let count = columns.len() as u32;
    let legend_top = text_top + below + MARGIN / 2;
    let height = legend_top + Lettering::Small.height() + MARGIN;
    let mut canvas = Canvas::new(MARGIN + count * (PANEL + MARGIN), height);
    let legend = match method {
        Method::IntegratedGradients => {
            "warm: adds to the score   cold: takes from it   words: what each adds"
        }
        Method::Mask => "bright: what the score cannot do without   words: warm adds, cold takes away",
    };
    canvas.write(legend, Place { x: MARGIN, y: legend_top }, Lettering::Small, GREY);
    for (number, column) in (0u32..).zip(&columns) {
        let x = MARGIN + number * (PANEL + MARGIN);
        let side = (number as usize).checked_sub(1).and_then(|side| sides.get(side).zip(maps.get(side)));
        let (title, panel) = match side {
            None => ("picture", plain.clone()),
            Some((side, map)) => (side.title.as_str(), heat::overlay(picture, map, scale, PANEL)),
        };
        canvas.write(&cut(title, Lettering::Large), Place { x, y: MARGIN }, Lettering::Large, BLACK);
        canvas.paste(&panel, Place { x, y: top });
        write_lines(&mut canvas, column, Place { x, y: text_top }, word_scale);
    }
    canvas.into_image()
}

fn lines(side: &Side) -> Vec<SheetLine> {
    let (score, baseline) = (side.pixels.score, side.pixels.baseline_score);
    let detail = match side.pixels.detail {
        Detail::Gradients { completeness_error, .. } => {
            format!("baseline {baseline:.3}, completeness error {:.1} %", 100.0 * completeness_error)
        }
        Detail::Mask { masked_score, masked_area } => {
            format!("{masked_score:.3} without {:.0} % of the picture", 100.0 * masked_area)
        }
    };
    let mut lines = vec![SheetLine::Plain(format!("score {score:.3}, {detail}"))];
    for text in &side.texts {
        if side.texts.len() > 1 {
            lines.push(SheetLine::Plain(format!("weight {:.2}", text.weight)));
        }
        lines.extend(word_lines(text));
    }
    lines
}

/// Breaks coloured words into lines.
fn word_lines(text: &WeightedAttribution) -> Vec<SheetLine> {
    let mut lines = Vec::new();
    let (mut line, mut used) = (Vec::new(), 0);
    for word in &text.words.words {
        let shown = cut(&word.word, Lettering::Large);
        let width = Lettering::Large.width_of(&shown) + 3 * PADDING;
        if used + width > PANEL && !line.is_empty() {
            lines.push(SheetLine::Words(std::mem::take(&mut line)));
            used = 0;
        }
        used += width;
        line.push((shown, word.value));
    }
    lines.push(SheetLine::Words(line));
    lines
}

fn line_height(line: &SheetLine) -> u32 {
    match line {
        SheetLine::Plain(_) => Lettering::Large.height() + 2 * PADDING,
        SheetLine::Words(_) => Lettering::Large.height() + Lettering::Small.height() + 3 * PADDING,
    }
}

fn height_of(lines: &[SheetLine]) -> u32 {
    lines.iter().map(line_height).sum()
}

fn write_lines(canvas: &mut Canvas, lines: &[SheetLine], place: Place, word_scale: f64) {
    let mut y = place.y;
    for line in lines {
        match line {
            SheetLine::Plain(text) => {
                // What is read most is large, what is long is small.
                let fits = Lettering::Large.width_of(text) <= PANEL;
                let lettering = if fits { Lettering::Large } else { Lettering::Small };
                canvas.write(&cut(text, lettering), Place { x: place.x, y }, lettering, BLACK);
            }
            SheetLine::Words(words) => write_words(canvas, words, Place { x: place.x, y }, word_scale),
        }
        y += line_height(line);
    }
}

/// Each word on its colour, and under it what it adds, in thousandths.
fn write_words(canvas: &mut Canvas, words: &[(String, f64)], place: Place, word_scale: f64) {
    let mut x = place.x;
    for (word, value) in words {
        let width = Lettering::Large.width_of(word) + 2 * PADDING;
        let height = Lettering::Large.height() + 2;
        canvas.fill(Place { x, y: place.y }, (width, height), heat::behind_word(*value, word_scale));
        canvas.write(word, Place { x: x + PADDING, y: place.y + 1 }, Lettering::Large, BLACK);
        let value = format!("{:+.0}", 1000.0 * value);
        if Lettering::Small.width_of(&value) <= width + PADDING {
            let below = Place { x: x + PADDING, y: place.y + height };
            canvas.write(&value, below, Lettering::Small, GREY);
        }
        x += width + PADDING;
    }
}

/// As much of a text as fits into a column.
fn cut(text: &str, lettering: Lettering) -> String {
    let room = (PANEL / lettering.width().max(1)) as usize;
    if text.chars().count() <= room {
        return text.to_owned();
    }
    text.chars().take(room.saturating_sub(2)).chain("..".chars()).collect()
}

/// Breaks a text at blanks; at most a dozen lines.
fn wrapped(text: &str, lettering: Lettering) -> Vec<String> {
    const MOST_LINES: usize = 12;
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let word = cut(word, lettering);
        match lines.last_mut() {
            Some(line)
                if lettering.width_of(line) + lettering.width_of(&word) + lettering.width() <= PANEL =>
            {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines.truncate(MOST_LINES);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_broken_and_long_words_are_cut() {
        let lines = wrapped(&"a dog on the beach ".repeat(9), Lettering::Large);
        assert!(lines.len() > 2);
        assert!(lines.iter().all(|line| Lettering::Large.width_of(line) <= PANEL));
        let word = wrapped(&"x".repeat(500), Lettering::Large);
        assert!(word.len() == 1 && word[0].ends_with("x.."));
        assert!(wrapped(&"word ".repeat(5000), Lettering::Small).len() <= 12);
    }
}
