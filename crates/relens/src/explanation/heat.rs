//! Colours for what matters: warm for the score, cold against it.

use super::{PixelGrid, SaliencyMap};
use image::{Rgb, RgbImage, imageops};
use relens_models::image_preprocessing::sides_by_longer;

/// A colour of a drawing.
pub type Color = Rgb<u8>;

/// White.
pub const WHITE: Color = Rgb([255, 255, 255]);

const FOR: Color = Rgb([255, 60, 0]);
const STRONGLY_FOR: Color = Rgb([255, 225, 60]);
const AGAINST: Color = Rgb([40, 110, 255]);
/// The share of pixels that may be beyond the scale's end: single pixels do not decide it.
const BEYOND_SCALE: f64 = 0.01;
/// Gradients of single pixels are noise to the eye: shown is the mean over this radius, as a share of the side.
const SMOOTHING: f32 = 0.015;
/// How often the mean is taken: a few times, and it falls off like a bell instead of a box.
const SMOOTHINGS: usize = 3;
/// How dark the picture is under the heat.
const DIMMED: f32 = 0.55;

/// A map of gradients as eyes can read it.
pub fn smoothed(map: &SaliencyMap) -> SaliencyMap {
    let radius = (SMOOTHING * map.size().width as f32).round() as usize;
    (0..SMOOTHINGS).fold(map.clone(), |map, _| map.smoothed(radius))
}

/// The value at which colours are full, for several maps that are to be compared.
pub fn common_scale<'a>(maps: impl Iterator<Item = &'a SaliencyMap>) -> f32 {
    let mut sizes: Vec<f32> = maps.flat_map(|map| map.values().iter().map(|value| value.abs())).collect();
    sizes.sort_by(f32::total_cmp);
    let at = (sizes.len() as f64 * (1.0 - BEYOND_SCALE)) as usize;
    sizes.get(at).or(sizes.last()).copied().unwrap_or(0.0)
}

/// The picture in grey with the map's colours over it, scaled up to `side` pixels.
pub fn overlay(picture: &RgbImage, map: &SaliencyMap, scale: f32, side: u32) -> RgbImage {
    let PixelGrid { width, .. } = map.size();
    let mut heated = picture.clone();
    for (x, y, pixel) in heated.enumerate_pixels_mut() {
        let value = map.values().get(y as usize * width + x as usize).copied().unwrap_or(0.0);
        let [red, green, blue] = pixel.0.map(f32::from);
        let grey = (DIMMED * (0.3 * red + 0.59 * green + 0.11 * blue)) as u8;
        *pixel = warmed(Rgb([grey; 3]), strength(value, scale));
    }
    enlarged(&heated, side)
}

/// The picture alone, scaled up to `side` pixels.
pub fn enlarged(picture: &RgbImage, side: u32) -> RgbImage {
    let (width, height) = sides_by_longer(picture, side);
    imageops::resize(picture, width, height, imageops::FilterType::Triangle)
}

/// The colour behind a word.
pub fn behind_word(value: f64, scale: f64) -> Color {
    let strength = strength(value as f32, scale as f32);
    mixed(WHITE, if strength < 0.0 { AGAINST } else { FOR }, 0.75 * strength.abs())
}

/// `share` of `over`, the rest of `under`.
pub fn mixed(under: Color, over: Color, share: f32) -> Color {
    let mix =
        |under: u8, over: u8| (f32::from(under) + share * (f32::from(over) - f32::from(under))).round() as u8;
    Rgb([0, 1, 2].map(|channel: usize| mix(under.0[channel], over.0[channel])))
}

/// From −1 to 1.
fn strength(value: f32, scale: f32) -> f32 {
    if scale > 0.0 { (value / scale).clamp(-1.0, 1.0) } else { 0.0 }
}

fn warmed(under: Color, strength: f32) -> Color {
    let share = strength.abs();
    if strength < 0.0 {
        return mixed(under, AGAINST, 0.8 * share);
    }
    mixed(under, mixed(FOR, STRONGLY_FOR, share * share), 0.9 * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_speaks_for_the_score_is_warm_and_what_speaks_against_it_is_cold() {
        let size = PixelGrid { height: 1, width: 3 };
        let map = SaliencyMap::new(size, vec![1.0, 0.0, -1.0]).unwrap();
        let heated = overlay(&RgbImage::from_pixel(3, 1, Rgb([200; 3])), &map, 1.0, 3);
        let [warm, plain, cold] = [0, 1, 2].map(|x| heated.get_pixel(x, 0).0);
        assert!(warm[0] > 200 && warm[2] < 100, "{warm:?}");
        assert!(plain[0] == plain[1] && plain[1] == plain[2] && (108..=111).contains(&plain[0]), "{plain:?}");
        assert!(cold[2] > 200 && cold[0] < 100, "{cold:?}");
        assert_eq!(behind_word(0.0, 1.0), WHITE);
        assert_eq!(behind_word(1.0, 0.0), WHITE);
    }

    #[test]
    fn one_wild_pixel_does_not_decide_the_scale() {
        let size = PixelGrid { height: 20, width: 20 };
        let values = (0..400).map(|pixel| if pixel == 7 { 1000.0 } else { 1.0 }).collect();
        let map = SaliencyMap::new(size, values).unwrap();
        assert_eq!(common_scale([&map, &map].into_iter()), 1.0);
        assert_eq!(common_scale(std::iter::empty()), 0.0);
    }
}
