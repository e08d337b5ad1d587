//! The networks that come with kiln, as the texts of `compiler/zoo`.

/// The sources by name, in alphabetical order; `zoo::NAME` in the language, `zoo:NAME` for the program.
pub const SOURCES: &[(&str, &str)] = &[
    ("mobilenet_v2", include_str!("../../zoo/mobilenet_v2.net")),
    ("resnet18", include_str!("../../zoo/resnet18.net")),
    ("resnet50", include_str!("../../zoo/resnet50.net")),
    ("tf_efficientnet_lite0", include_str!("../../zoo/tf_efficientnet_lite0.net")),
    ("vgg16", include_str!("../../zoo/vgg16.net")),
];

/// The text of a source that comes with kiln.
pub fn source(name: &str) -> Option<&'static str> {
    SOURCES.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_zoo_is_listed() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/zoo");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .expect("the folder")
            .filter_map(|entry| entry.expect("an entry").file_name().to_str()?.strip_suffix(".net").map(String::from))
            .collect();
        files.sort();
        assert_eq!(files, SOURCES.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    }
}
