//! Which environments use which releases, according to their records.

use serde::Serialize;

use crate::aws::objects::Objects;
use crate::aws::records::Records;
use crate::aws::releases::Found;
use crate::deployment::history::Role;
use crate::deployment::record::Release;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::place::Place;

/// One environment's use of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Use {
    pub(super) environment: String,
    pub(super) role: Role,
    #[serde(skip)]
    pub(super) release: Release,
}

/// Which releases the environments use, and why that is unknown for some of them.
pub(super) async fn uses(objects: &impl Objects, place: &Place) -> Result<(Vec<Use>, Vec<Failure>), Failure> {
    let (mut uses, mut unread) = (Vec::new(), Vec::new());
    for environment in objects.below(&place.environments()).await? {
        match Records::new(objects, place, &environment).counting().await {
            Ok(counting) => uses.extend(counting.found.into_iter().map(|(role, record)| {
                let environment = environment.clone();
                Use { environment, role, release: record.goal.release }
            })),
            // If AWS does not answer, the cause is not that one record.
            Err(failure) if failure.exit == Exit::Unreachable => return Err(failure),
            Err(failure) => unread.push(failure),
        }
    }
    Ok((uses, unread))
}

/// The uses of one release.
pub(super) fn uses_of<'a>(uses: &'a [Use], found: &Found) -> Vec<&'a Use> {
    uses.iter().filter(|one| one.release.name == found.name).collect()
}
