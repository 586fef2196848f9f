//! open_clip's names of pretrained weights.

/// One line a model: `model/weights repository`.
const TABLE: &str = include_str!("open_clip_names.txt");

/// All names that are known, with their repositories, sorted.
pub fn open_clip_names() -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLE.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(' '))
}

/// The repository of an open_clip name such as `ViT-B-32/laion2b_s34b_b79k`; `-quickgelu` in the model's name is
/// accepted and means the same weights.
pub fn repository_of(name: &str) -> Option<&'static str> {
    open_clip_names().find(|(known, _)| *known == name).map(|(_, repository)| repository)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_well_formed() {
        let names: Vec<_> = open_clip_names().collect();
        assert!(names.len() > 100, "{}", names.len());
        assert!(names.is_sorted(), "sorted by name, no name twice");
        for (name, repository) in names {
            assert_eq!(name.split('/').count(), 2, "{name}");
            assert_eq!(repository.split('/').count(), 2, "{repository}");
        }
        assert_eq!(
            repository_of("coca_ViT-L-14/laion2b_s13b_b90k"),
            Some("laion/CoCa-ViT-L-14-laion2B-s13B-b90k")
        );
        assert_eq!(repository_of("ViT-B-32/nonsense"), None);
    }
}
