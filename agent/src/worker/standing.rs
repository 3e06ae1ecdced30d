//! What is in hand at which port, and whether the application there is about to be stopped.
//!
//! A process that stops an application holds the worker in the meantime ([`holds`](crate::net::holds)). If messages go
//! to the port that is being stopped, none are taken. If they already go to another release, work continues, and the
//! process only waits for the messages of the previous release.

use std::cell::RefCell;
use std::future::pending;
use std::path::Path;
use std::rc::Rc;

use super::hand::Ticket;
use crate::net::holds::Holding;

/// The port of each message that is being posted. The port is only known a moment after the message has been added.
#[derive(Debug, Clone, Default)]
pub(super) struct Posted(Rc<RefCell<Vec<OnItsWay>>>);

#[derive(Debug)]
struct OnItsWay {
    ticket: Ticket,
    port: Option<u16>,
}

impl Posted {
    pub(super) fn begins(&self, ticket: Ticket) {
        self.0.borrow_mut().push(OnItsWay { ticket, port: None });
    }

    pub(super) fn goes_to(&self, ticket: Ticket, port: u16) {
        if let Some(own) = self.0.borrow_mut().iter_mut().find(|own| own.ticket == ticket) {
            own.port = Some(port);
        }
    }

    pub(super) fn ended(&self, ticket: Ticket) {
        self.0.borrow_mut().retain(|own| own.ticket != ticket);
    }

    /// Removes all, because they were cut off.
    pub(super) fn clear(&self) {
        self.0.borrow_mut().clear();
    }

    /// Whether no message is, or may be, at a port.
    fn is_free(&self, port: u16) -> bool {
        self.0.borrow().iter().all(|own| own.port.is_some_and(|own| own != port))
    }
}

/// The socket by which others hold the worker. `None` if it could not be created, so that nothing can.
pub(super) struct Standing(Option<Holding>);

impl Standing {
    pub(super) fn listen(socket: Option<&Path>) -> Self {
        let Some(socket) = socket else { return Self(None) };
        let holding = Holding::listen(socket);
        if let Err(error) = &holding {
            log::warn!("deployments will not wait for this worker: cannot listen at {}: {error}", socket.display());
        }
        Self(holding.ok())
    }

    /// Waits until a hold begins or ends.
    pub(super) async fn changed(&mut self) {
        match &mut self.0 {
            Some(holding) => holding.changed().await,
            None => pending().await,
        }
    }

    pub(super) fn is_held(&self) -> bool {
        self.0.as_ref().is_some_and(|holding| holding.ports().next().is_some())
    }

    /// Whether the application at a port is about to be stopped.
    pub(super) fn is_held_at(&self, port: u16) -> bool {
        self.0.as_ref().is_some_and(|holding| holding.ports().any(|held| held == port))
    }

    /// Tells the waiting processes which ports no longer have a message in hand.
    pub(super) fn tell(&mut self, posted: &Posted) {
        if let Some(holding) = &mut self.0 {
            holding.tell(|port| posted.is_free(port));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_free_once_nothing_is_there_or_may_be() {
        let posted = Posted::default();
        assert!(posted.is_free(5000));
        posted.begins(1);
        posted.begins(2);
        posted.goes_to(1, 15_000);
        assert!(!posted.is_free(15_000) && !posted.is_free(25_000), "nobody knows where the second goes");
        posted.goes_to(2, 25_000);
        assert!(!posted.is_free(15_000) && posted.is_free(35_000));
        posted.ended(1);
        assert!(posted.is_free(15_000) && !posted.is_free(25_000));
    }
}
