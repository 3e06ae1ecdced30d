//! One service in several regions: its own, and those that ARNs name. Each has quotas and permissions of its own, so each
//! gets its own batches.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;

use crate::aws::arn::Arn;
use crate::aws::client::error::AwsError;

/// What is kept of a service `S` in each region is an `I`.
pub(super) struct Regions<S: ?Sized, I> {
    home: Rc<I>,
    others: Rc<RefCell<BTreeMap<String, Rc<I>>>>,
    make: fn(Rc<S>) -> I,
}

impl<S: ?Sized, I> Clone for Regions<S, I> {
    fn clone(&self) -> Self {
        Self { home: self.home.clone(), others: self.others.clone(), make: self.make }
    }
}

impl<S: ?Sized, I> Regions<S, I> {
    pub(super) fn new(service: Rc<S>, make: fn(Rc<S>) -> I) -> Self {
        Self { home: Rc::new(make(service)), others: Rc::default(), make }
    }

    pub(super) fn home(&self) -> Rc<I> {
        self.home.clone()
    }

    /// Does something with what is kept of every region.
    pub(super) fn each(&self, act: impl Fn(&I)) {
        act(&self.home);
        self.others.borrow().values().for_each(|other| act(other));
    }

    /// That of the region where `name` is: its own but for an ARN. `elsewhere` makes the service of another region, or
    /// says that it is none.
    pub(super) async fn of<F>(&self, name: &str, elsewhere: impl FnOnce(Rc<I>, String) -> F) -> Result<Rc<I>, AwsError>
    where
        F: Future<Output = Result<Option<Rc<S>>, AwsError>>,
    {
        let Some(Arn { region, .. }) = Arn::parse(name) else { return Ok(self.home()) };
        if let Some(known) = self.others.borrow().get(region) {
            return Ok(known.clone());
        }
        let made = elsewhere(self.home(), region.to_owned()).await?;
        let mut others = self.others.borrow_mut();
        // Someone else may have been first in the meantime.
        let there =
            others.entry(region.to_owned()).or_insert_with(|| made.map_or_else(|| self.home(), |service| Rc::new((self.make)(service))));
        Ok(there.clone())
    }
}
