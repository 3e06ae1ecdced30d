//! The start of a worker: the connection to AWS, and its queue.

use std::rc::Rc;
use std::time::Duration;

use crate::aws::client::call::Call;
use crate::aws::client::connection::Connection;
use crate::aws::sqs::{LiveQueue, Queue, QueueName, SERVICE};
use crate::aws::{AwsError, AwsErrorKind};
use crate::backoff::Backoff;
use crate::failure::{Explanation, Failure as _};
use crate::host::Clock;

/// How long AWS may be unreachable at the start.
const UNREACHABLE_FOR: Duration = Duration::from_secs(60);

/// How long a denial may last at the start. A permission granted together with the instance may
/// take effect seconds later.
///
/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html>, eventual consistency.
const REFUSED_FOR: Duration = Duration::from_secs(15);

/// A queue that a worker takes messages from.
pub(crate) struct Found {
    pub(crate) queue: Rc<dyn Queue>,
    pub(crate) name: QueueName,
    /// An identifier that no other queue has.
    pub(crate) known_as: String,
}

/// The search for a queue.
pub(crate) struct Begin<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) name: QueueName,
    pub(crate) clock: &'a dyn Clock,
}

impl Begin<'_> {
    /// Finds the queue, and warns if it has no dead-letter queue.
    ///
    /// # Errors
    ///
    /// If the queue does not exist, if this role may not use it, or if AWS is unreachable.
    pub(crate) async fn find(self) -> Result<Found, AwsError> {
        let begun = self.clock.elapsed();
        let call = Call::new(SERVICE, "GetQueueUrl", &self.name.written);
        let mut last = call.error(AwsErrorKind::Unreachable, "neither IMDS nor AWS answered in time");
        for tries in 1.. {
            let left = (begun + UNREACHABLE_FOR).saturating_sub(self.clock.elapsed());
            let found = tokio::select! {
                biased;
                found = self.look() => found,
                () = self.clock.sleep(left) => return Err(last),
            };
            last = match found {
                Ok(queue) => return Ok(Found { known_as: queue.known_as(), queue: Rc::new(queue), name: self.name }),
                Err(error) => error,
            };
            let (limit, backoff) = if last.is_transient() { (UNREACHABLE_FOR, Backoff::CALL) } else { (REFUSED_FOR, Backoff::REFUSED) };
            let left = (begun + limit).saturating_sub(self.clock.elapsed());
            if left.is_zero() {
                return Err(last);
            }
            log::info!("the queue is not available yet: {last}");
            self.clock.sleep(backoff.pause(tries, last.retry_after).min(left)).await;
        }
        unreachable!("it is tried until it ends")
    }

    async fn look(&self) -> Result<LiveQueue, AwsError> {
        let queue = LiveQueue::find(self.connection, &self.name).await?;
        queue.check_rights().await?;
        match queue.attributes().await {
            Ok(attributes) if attributes.has_dead_letters => {}
            Ok(_) => log::warn!(
                "{} has no redrive policy: a message that always fails is delivered until it expires\n  hint: give the queue a dead-letter queue with a maxReceiveCount",
                self.name.written
            ),
            // The permission is needed for nothing else.
            Err(error) if error.kind == AwsErrorKind::Denied => {
                log::warn!("cannot tell whether messages that fail go to a dead-letter queue: {}", Explanation::of(&error));
            }
            Err(error) => return Err(error),
        }
        Ok(queue)
    }
}
