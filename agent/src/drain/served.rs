//! Requests are served until the last one has arrived, and load balancers are told to send no more.

use std::path::Path;

use futures_util::future::join_all;

use super::leave::{LOOK_EVERY, Leaving};
use super::outlook::Outlook;
use super::requests::{Requests, Seen, Turn, counts_as_sick};
use super::told::Told;
use super::trouble::DrainError;
use crate::aws::AwsErrorKind;
use crate::backoff::Backoff;
use crate::failure::{Explanation, Failure as _};
use crate::host::Attributes;
use crate::host::sockets::Endpoint;
use crate::steps::application::leave::sockets;
use crate::steps::drain::LEAVING;
use crate::steps::install::staged;

impl Leaving<'_> {
    /// Waits until the last request has arrived and is answered.
    pub(super) async fn requests(&self, outlook: &Outlook) {
        let clock = &self.ground.host.clock;
        let (begun, mut told) = (clock.elapsed(), Told::default());
        let mut requests = Requests::new(self.settings.deregistration(), outlook.sign.serves_to_the_end());
        let (mut are_known, mut trouble) = (!self.settings.targets.is_empty(), Told::default());
        let mut last = vec!["no target group has answered".to_owned()];
        for tries in 1.. {
            let (left, passed) = (outlook.left(clock.elapsed()), clock.elapsed().saturating_sub(begun));
            let seen = match are_known {
                true => tokio::select! {
                    biased;
                    listed = self.listed(counts_as_sick(outlook.sign, passed), &mut trouble) => listed,
                    () = clock.sleep(left.max(LOOK_EVERY)) => Some(last.clone()),
                },
                false => None,
            };
            // If the target groups cannot be read now, they will not be readable later.
            are_known &= seen.is_some();
            let seen = match seen {
                Some(groups) => {
                    last.clone_from(&groups);
                    Seen::Listed(groups)
                }
                None => match self.ground.host.sockets.accepted().await {
                    Ok(count) => Seen::Accepted(count),
                    Err(error) => {
                        trouble.warn(format!("cannot count connections: {}", Explanation::of(&error)));
                        Seen::Unknown
                    }
                },
            };
            let left = outlook.left(clock.elapsed());
            let why = match requests.look(seen, clock.elapsed().saturating_sub(begun), left) {
                Turn::Over(why) if left.is_zero() => return log::info!("requests are over: {why}"),
                Turn::Over(why) => match self.served(are_known).await {
                    0 => return log::info!("requests are over: {why}"),
                    count => format!("{count} connections to close"),
                },
                Turn::Wait(why) => why,
            };
            told.waiting(&why);
            let pause = if are_known { Backoff::TARGET.pause(tries, None) } else { LOOK_EVERY };
            clock.sleep(pause.min(left)).await;
        }
    }

    /// The number of connections that still serve a client. If the target groups are known, only connections to
    /// applications count, which are requests not answered yet. Otherwise connections to the public ports count as
    /// well: a client may send another request on one, which no new connection would show.
    async fn served(&self, are_known: bool) -> usize {
        let host = &self.ground.host;
        let mut endpoints = Vec::new();
        let applications = self.settings.serving.iter().filter_map(|address| address.strip_prefix("applications."));
        applications.for_each(|name| endpoints.extend(sockets(name)));
        if !are_known {
            endpoints.extend(self.settings.ports.iter().copied().map(Endpoint::Port));
        }
        match host.sockets.connections(&endpoints).await {
            Ok(count) => count,
            Err(error) => {
                log::warn!("cannot count connections: {}", Explanation::of(&error));
                0
            }
        }
    }

    /// The target groups that still send requests here, as text. `None` if that cannot be determined.
    async fn listed(&self, sick: bool, trouble: &mut Told) -> Option<Vec<String>> {
        let instance = match self.cloud.metadata().identity().await {
            Ok(identity) => identity.instance_id,
            Err(error) => {
                let (is_unreachable, error) = (error.is_unreachable(), DrainError::Instance(error));
                trouble.warn(format!("cannot read target health: {}", Explanation::of(&error)));
                return is_unreachable.then(|| vec![error.to_string()]);
            }
        };
        let balancers = self.cloud.aws().balancers;
        let looks = join_all(self.settings.targets.iter().map(|group| balancers.health(group, &instance))).await;
        let (mut listed, mut is_open) = (Vec::new(), false);
        for (group, look) in self.settings.targets.iter().zip(looks) {
            let name = group.split('/').nth(1).unwrap_or(group);
            match look {
                Ok(health) if health.lets_go(sick) => {}
                Ok(health) => listed.push(format!("{name} is {health}")),
                Err(error) if error.is_transient() => listed.push(format!("{name} is unknown: {}", error.what)),
                Err(error) if error.kind == AwsErrorKind::NotFound || error.code == "TargetGroupNotFound" => {}
                Err(error) => {
                    trouble.warn(format!("cannot read target health: {}", Explanation::of(&error)));
                    is_open = true;
                }
            }
        }
        // Groups that can be read are still waited for, as long as they list the instance.
        if is_open && listed.is_empty() { None } else { Some(listed) }
    }

    /// Makes the proxy answer 503 on the health paths of applications.
    pub(super) async fn hide(&self) {
        let (files, path) = (&self.ground.host.files, Path::new(LEAVING));
        let (uid, gid) = self.ground.host.users.own();
        let hidden = async {
            let parent = path.parent().unwrap_or(path);
            if files.stat(parent).await?.is_none() {
                return Ok(());
            }
            files.stage(&staged(path), b"", Attributes { mode: 0o644, uid, gid }).await?;
            files.install(&staged(path), path).await
        };
        if let Err(error) = hidden.await {
            log::warn!("the proxy still reports the instance as healthy to load balancers: {}", Explanation::of(&error));
        }
    }
}
