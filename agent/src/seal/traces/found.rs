//! A trace that an image has, and its removal.

use std::path::{Path, PathBuf};

use super::Trace;
use crate::host::HostError;
use crate::image::scrub::{Scrubber, Spot};
use crate::seal::finding::Finding;

/// A trace that the image has.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) finding: Finding,
    pub(super) spot: Spot,
    pub(super) action: Action,
}

/// How a trace is removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    Remove,
    RemoveEach(Vec<Spot>),
    Empty,
    EmptyEach {
        rotated: Vec<Spot>,
        others: Vec<Spot>,
    },
    Write(&'static [u8]),
    /// Removes a line of a text. If the file is empty after that, it is removed as well if `whole` says so.
    RemoveLine {
        line: String,
        whole: bool,
    },
    /// Removes a swap file, and then its line in fstab.
    RemoveSwap {
        file: Option<PathBuf>,
        line: Option<String>,
    },
    /// Nothing can be removed safely: a person has to decide.
    Nothing,
}

/// The largest file that is read here, in bytes.
pub(super) const TEXT_LIMIT: u64 = 16 << 20;

/// The finding of a trace with its removal.
pub(super) fn one(trace: &Trace, spot: Spot, line: Option<u64>, action: Action) -> Found {
    let many = match &action {
        Action::RemoveEach(spots) => spots.len(),
        Action::EmptyEach { rotated, others } => rotated.len() + others.len(),
        _ => 0,
    };
    let says = match many {
        0 => trace.says.to_owned(),
        1 => format!("{}: 1 entry", trace.says),
        many => format!("{}: {many} entries", trace.says),
    };
    let finding =
        Finding { path: spot.path(), line, rule: trace.rule.into(), says, hint: "run `ingot seal --scrub`, which removes it".into() };
    Found { finding, spot, action }
}

impl Found {
    /// Whether [`remove`](Found::remove) does anything.
    pub(crate) fn is_removable(&self) -> bool {
        self.action != Action::Nothing
    }

    /// A separate finding for each path that is changed.
    pub(crate) fn each(&self) -> Vec<Finding> {
        let (says, _) = self.finding.says.rsplit_once(": ").filter(|(_, rest)| rest.contains("entr")).unwrap_or((&self.finding.says, ""));
        let at = |path: PathBuf| Finding { path, line: None, says: says.to_owned(), ..self.finding.clone() };
        match &self.action {
            Action::RemoveEach(spots) => spots.iter().map(|spot| at(spot.path())).collect(),
            Action::EmptyEach { rotated, others } => rotated.iter().chain(others).map(|spot| at(spot.path())).collect(),
            Action::RemoveSwap { file: Some(file), .. } => vec![self.finding.clone(), at(file.clone())],
            _ => vec![self.finding.clone()],
        }
    }

    /// The paths that are removed with everything below them.
    pub(crate) fn wholly(&self) -> Vec<PathBuf> {
        match &self.action {
            Action::RemoveLine { .. } | Action::Nothing => Vec::new(),
            // fstab only loses a line.
            Action::RemoveSwap { file, .. } => file.iter().cloned().collect(),
            _ => self.each().into_iter().map(|finding| finding.path).collect(),
        }
    }

    /// Removes the trace.
    ///
    /// # Errors
    ///
    /// The first removal that failed; another run continues there.
    pub(crate) fn remove(&self, image: &Scrubber) -> Result<(), HostError> {
        match &self.action {
            Action::Remove => image.remove(&self.spot),
            Action::RemoveEach(spots) => spots.iter().try_for_each(|spot| image.remove(spot)),
            Action::Empty => image.empty(&self.spot),
            Action::EmptyEach { rotated, others } => {
                rotated.iter().try_for_each(|spot| image.remove(spot))?;
                others.iter().try_for_each(|spot| image.empty(spot))
            }
            Action::Write(content) => image.write(&self.spot, content),
            Action::RemoveLine { line, whole } => remove_line(&self.spot, line, *whole, image),
            Action::RemoveSwap { file, line } => {
                if let Some(file) = file {
                    image.stop_swapping(file)?;
                    image.remove(&Spot::of(file))?;
                }
                // The line comes last: a run that was killed in between finds the rest by it.
                line.as_ref().map_or(Ok(()), |line| remove_line(&Spot::of(Path::new("/etc/fstab")), line, false, image))
            }
            Action::Nothing => Ok(()),
        }
    }
}

fn remove_line(spot: &Spot, line: &str, whole: bool, image: &Scrubber) -> Result<(), HostError> {
    let Some(content) = image.read(spot, TEXT_LIMIT)? else { return Ok(()) };
    let kept: Vec<&[u8]> =
        content.split_inclusive(|byte| *byte == b'\n').filter(|other| other.trim_ascii() != line.trim().as_bytes()).collect();
    let says_nothing = |line: &&[u8]| matches!(line.trim_ascii_start().first(), None | Some(b'#'));
    if whole && kept.iter().all(says_nothing) { image.remove(spot) } else { image.replace(spot, &kept.concat()) }
}
