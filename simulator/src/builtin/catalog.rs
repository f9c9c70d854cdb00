//! Which images are built in.

/// A module that is part of this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Builtin {
    /// `azureiotedge-simulated-temperature-sensor`.
    TemperatureSensor,
    /// The filter of the tutorials, for machines on which none can be built.
    Filter,
}

/// Image names, without registry and tag, and what stands in for them.
const IMAGES: [(&str, Builtin); 2] =
    [("azureiotedge-simulated-temperature-sensor", Builtin::TemperatureSensor), ("edgectl-filter", Builtin::Filter)];

impl Builtin {
    /// The built-in module that stands in for an image, whatever its registry and tag.
    pub fn for_image(image: &str) -> Option<Self> {
        let last = image.rsplit('/').next()?;
        let name = last.split([':', '@']).next()?;
        IMAGES.iter().find(|(known, _)| *known == name).map(|(_, builtin)| *builtin)
    }

    /// The outputs it sends from.
    pub fn outputs(self) -> &'static [&'static str] {
        match self {
            Self::TemperatureSensor => &["temperatureOutput"],
            Self::Filter => &["output1"],
        }
    }

    /// The inputs it listens to.
    pub fn inputs(self) -> &'static [&'static str] {
        match self {
            Self::TemperatureSensor => &["control"],
            Self::Filter => &["input1"],
        }
    }

    /// The word that names it on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::TemperatureSensor => "simulated-temperature-sensor",
            Self::Filter => "filter",
        }
    }

    /// The built-in module of that word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::TemperatureSensor, Self::Filter].into_iter().find(|builtin| builtin.word() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registry_and_tag_do_not_matter() {
        for image in [
            "mcr.microsoft.com/azureiotedge-simulated-temperature-sensor:1.5",
            "azureiotedge-simulated-temperature-sensor",
            "localhost:5000/a/azureiotedge-simulated-temperature-sensor@sha256:00",
        ] {
            assert_eq!(Builtin::for_image(image), Some(Builtin::TemperatureSensor), "{image}");
        }
        assert_eq!(Builtin::for_image("example/azureiotedge-simulated-temperature-sensor/x:1"), None);
    }
}
