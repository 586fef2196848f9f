//! HTML entities in text that is not HTML.

use std::borrow::Cow;

/// The longest name or number that counts as an entity.
const LONGEST_NAME: usize = 24;

/// The text with those entities resolved that end in a semicolon and nothing else can be meant by: ftfy's
/// `unescape_html`. Names in capitals stand for capital letters, as in `&EACUTE;`.
pub(super) fn with_entities_resolved(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let mut resolved = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        let (before, from) = rest.split_at(start);
        resolved.push_str(before);
        let entity = leading_entity(from).unwrap_or("&");
        resolved.push_str(&meaning(entity).unwrap_or(Cow::Borrowed(entity)));
        rest = from.get(entity.len()..).unwrap_or_default();
    }
    resolved.push_str(rest);
    Cow::Owned(resolved)
}

/// The entity that a text begins with, from `&` to `;`.
fn leading_entity(text: &str) -> Option<&str> {
    let after = text.strip_prefix('&')?;
    let name = after.strip_prefix('#').unwrap_or(after);
    let length = name.bytes().take_while(u8::is_ascii_alphanumeric).count();
    // The semicolon is required: without it, `AT&T` and query strings would be taken for entities.
    let is_entity = (1..=LONGEST_NAME).contains(&length) && name.as_bytes().get(length) == Some(&b';');
    is_entity.then(|| text.get(..text.len() - name.len() + length + 1)).flatten()
}

fn meaning(entity: &str) -> Option<Cow<'_, str>> {
    let name = entity.strip_prefix('&')?.strip_suffix(';')?;
    match name.strip_prefix('#') {
        Some(number) => numbered(number),
        None => named(entity).or_else(|| named_in_capitals(entity)),
    }
}

fn named(entity: &str) -> Option<Cow<'_, str>> {
    let meant = htmlize::unescape(entity);
    // Of `&notit;` browsers resolve the beginning, and leave the semicolon with the rest. It is meant in `&semi;` alone.
    (meant != entity && (!meant.ends_with(';') || meant == ";")).then_some(meant)
}

fn named_in_capitals(entity: &str) -> Option<Cow<'static, str>> {
    let is_capital = !entity.contains(|c: char| c.is_ascii_lowercase());
    let is_unknown = is_capital && htmlize::unescape(entity) == entity;
    let small = entity.to_ascii_lowercase();
    is_unknown.then(|| named(&small).map(|meant| Cow::Owned(meant.to_uppercase()))).flatten()
}

/// The character of a number, `x` before hexadecimal ones.
fn numbered(number: &str) -> Option<Cow<'static, str>> {
    let hexadecimal = number.strip_prefix(['x', 'X']);
    let code = match hexadecimal {
        Some(digits) => u128::from_str_radix(digits, 16).ok()?,
        None => number.parse::<u128>().ok()?,
    };
    let character = u32::try_from(code).ok().and_then(char::from_u32);
    Some(match character {
        None | Some('\0') => Cow::Borrowed("\u{fffd}"),
        Some(';') => return None,
        Some(character @ '\u{80}'..='\u{9f}') => {
            Cow::Owned(super::mojibake::windows_1252(character).to_string())
        }
        Some(character) if is_no_character(character) => Cow::Borrowed(""),
        Some(character) => Cow::Owned(character.to_string()),
    })
}

/// What HTML forbids to name by its number.
fn is_no_character(character: char) -> bool {
    matches!(character, '\u{1}'..='\u{8}' | '\u{b}' | '\u{e}'..='\u{1f}' | '\u{7f}' | '\u{fdd0}'..='\u{fdef}')
        || matches!(u32::from(character) & 0xffff, 0xfffe | 0xffff)
}
