//! `instances:` — type and number of instances.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fleet::length::Percent;
use crate::fleet::site::{Mode, Site, Tier};
use crate::fleet::words::{Device, Image, InstanceType, Whole, Word};

/// Instances of an environment.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Instances {
    /// One or two instance types of one architecture: the second is used where the first has no capacity. Required.
    pub(crate) types: Vec<Word<InstanceType>>,
    /// Minimum number of instances; a worker may have 0. Default: 2 for the web tier, 1 for the worker tier.
    pub(crate) min: Option<Whole<0, 1000>>,
    /// Maximum number of instances. Default: 4.
    pub(crate) max: Option<Whole<1, 1000>>,
    /// Share of Spot Instances. Default: 0%.
    pub(crate) spot: Option<Percent>,
    /// Metric that the number of instances follows. Default: `cpu_percent: 60` for the web tier,
    /// `messages_per_instance: 100` for the worker tier.
    pub(crate) scale_on: Option<ScaleOn>,
    /// Size of the root volume in GiB, at least the image's. Default: 16.
    pub(crate) root_volume_gib: Option<Whole<1, 16384>>,
    /// Device name of the image's root volume. Default: /dev/xvda.
    pub(crate) root_device: Option<Word<Device>>,
}

/// Metric that the number of instances follows. Among several, the one that needs the most instances wins.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ScaleOn {
    /// Requests per minute and instance, for the web tier.
    pub(crate) requests_per_target: Option<Whole<1, 10_000_000>>,
    /// CPU utilization.
    pub(crate) cpu_percent: Option<Whole<1, 100>>,
    /// Visible messages per instance, for the worker tier.
    pub(crate) messages_per_instance: Option<Whole<1, 10_000_000>>,
}

/// Processor architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Architecture {
    X86,
    Arm,
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::X86 { "x86_64" } else { "arm64" })
    }
}

impl Architecture {
    /// Derives it from an instance type: Graviton types have a `g` after the generation number.
    ///
    /// Source: <https://docs.aws.amazon.com/ec2/latest/instancetypes/instance-type-names.html>
    fn of_type(name: &str) -> Self {
        let family = name.split('.').next().unwrap_or_default();
        let options = family.split_once(|c: char| c.is_ascii_digit()).map_or("", |(_, rest)| rest);
        let options = options.split('-').next().unwrap_or_default();
        if family == "a1" || options.contains('g') { Self::Arm } else { Self::X86 }
    }

    /// Derives it from the name of an image, if it contains the architecture, as the names published by
    /// `packer/pipeline` do.
    fn of_image(image: &Word<Image>) -> Option<Self> {
        image.as_str().split('/').find_map(|part| match part {
            "x86_64" | "amd64" => Some(Self::X86),
            "arm64" | "aarch64" => Some(Self::Arm),
            _ => None,
        })
    }
}

impl Instances {
    /// Returns the architecture of its types in EC2's spelling: `x86_64` or `arm64`.
    pub(crate) fn architecture(&self) -> String {
        self.types.first().map_or(Architecture::X86, |name| Architecture::of_type(name.as_str())).to_string()
    }

    /// Returns the minimum number, which is 1 for a single instance.
    pub(crate) fn min(&self, tier: Tier, mode: Mode) -> u32 {
        match mode {
            Mode::SingleInstance => 1,
            Mode::HighlyAvailable => self.min.map_or(if tier == Tier::Web { 2 } else { 1 }, |min| min.0),
        }
    }

    /// Returns the maximum number. A single instance has room for its successor.
    pub(crate) fn max(&self, mode: Mode) -> u32 {
        match mode {
            Mode::SingleInstance => 2,
            Mode::HighlyAvailable => self.max.map_or(4, |max| max.0),
        }
    }

    pub(super) fn check(&self, image: Option<&Word<Image>>, site: &mut Site<'_>) {
        if site.is_broken("instances.types") {
            return;
        }
        if self.types.is_empty() {
            site.missing("instances.types", "add `types: [m7g.large]` to `instances:`");
        }
        if self.types.len() > 2 {
            let message = format!("{} instance types are listed, but an environment takes at most two", self.types.len());
            site.wrong("instances.types.2", message, "keep two of them");
        }
        let architectures: Vec<Architecture> = self.types.iter().map(|name| Architecture::of_type(name.as_str())).collect();
        let Some(first) = architectures.first() else { return };
        for (at, other) in architectures.iter().enumerate().filter(|(_, other)| *other != first) {
            let message = format!("{} is {other}, but {} is {first}", self.types[at].as_str(), self.types[0].as_str());
            site.wrong(&format!("instances.types.{at}"), message, format!("write types of one architecture, such as {first}"));
        }
        if let Some((image, of_image)) = image.and_then(|image| Some((image, Architecture::of_image(image)?)))
            && of_image != *first
        {
            let message = format!("{} is an {of_image} image by its name, but {} is {first}", image.as_str(), self.types[0].as_str());
            site.wrong("image", message, format!("write an image for {first}, or instance types for {of_image}"));
        }
    }

    pub(super) fn complete(&mut self, tier: Tier, mode: Mode) {
        self.spot.get_or_insert(Percent(0));
        self.root_volume_gib.get_or_insert(Whole(16));
        self.root_device.get_or_insert_with(|| Word::parse("/dev/xvda").expect("it is a device"));
        if mode == Mode::SingleInstance {
            return;
        }
        self.min = Some(Whole(self.min(tier, mode)));
        self.max = Some(Whole(self.max(mode)));
        self.scale_on.get_or_insert_with(|| match tier {
            Tier::Web => ScaleOn { cpu_percent: Some(Whole(60)), ..ScaleOn::default() },
            Tier::Worker => ScaleOn { messages_per_instance: Some(Whole(100)), ..ScaleOn::default() },
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn graviton_is_known_by_its_letter() {
        for name in [
            "m7g.large",
            "c7gn.xlarge",
            "t4g.micro",
            "r8gd.large",
            "a1.medium",
            "im4gn.large",
            "is4gen.large",
            "x2gd.large",
            "g5g.xlarge",
            "hpc7g.4xlarge",
        ] {
            assert_eq!(Architecture::of_type(name), Architecture::Arm, "{name}");
        }
        for name in [
            "m7i.large",
            "m7i-flex.large",
            "g5.xlarge",
            "g6e.xlarge",
            "gr6.4xlarge",
            "t3.micro",
            "m7a.large",
            "u7i-12tb.224xlarge",
            "c5n.large",
            "u-6tb1.metal",
        ] {
            assert_eq!(Architecture::of_type(name), Architecture::X86, "{name}");
        }
    }
}
