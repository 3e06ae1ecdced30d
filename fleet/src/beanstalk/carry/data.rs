//! Queue and database.
//!
//! What Elastic Beanstalk calls a database: <https://docs.aws.amazon.com/elasticbeanstalk/latest/dg/using-features.managing.db.html>

use ingot::desk::Value;

use super::super::draft::map;
use super::{Carry, boolean, seconds, string, whole};
use crate::fleet::Tier;

const SQSD: &str = "aws:elasticbeanstalk:sqsd";
const RDS: &str = "aws:rds:dbinstance";

/// The longest that SQS hides and keeps messages, in seconds.
const LONGEST_HIDDEN: u64 = 12 * 60 * 60;
const LONGEST_KEPT: u64 = 14 * 24 * 60 * 60;

/// Engines of RDS that an environment may have.
const ENGINES: [&str; 3] = ["postgres", "mysql", "mariadb"];

impl Carry {
    pub(super) fn queue(&mut self) {
        if self.tier != Tier::Worker {
            return;
        }
        // One of theirs is made again, with its dead-letter queue.
        if let Some(url) = self.options.take(SQSD, "WorkerQueueURL") {
            self.leave(&url, "name a queue that has to stay in `queue.url`; without it, the stack makes one");
        }
        let advice = "write 1s to 12h in `queue.visibility`";
        self.take((SQSD, "VisibilityTimeout"), "queue.visibility", |text| seconds(text, 1, LONGEST_HIDDEN), advice);
        let advice = "write 1m to 14d in `queue.retention`";
        self.take((SQSD, "RetentionPeriod"), "queue.retention", |text| seconds(text, 60, LONGEST_KEPT), advice);
        self.take((SQSD, "MaxRetries"), "queue.retries", |text| whole(text, 1, 1000), "write 1 to 1000 in `queue.retries`");
    }

    pub(super) fn database(&mut self) {
        if !self.options.has(RDS) {
            return;
        }
        // In each saved configuration, also of environments without a database.
        let is_coupled = self.options.take(RDS, "HasCoupledDatabase").is_none_or(|coupled| boolean(&coupled.value) != Some(false));
        if !is_coupled {
            return drop(self.options.take_all(RDS));
        }
        // Elastic Beanstalk's defaults, which are not those of fleet.yaml; the name is always this one.
        for (name, path, value) in [("DBEngine", "database.engine", "mysql"), ("DBUser", "database.user", "ebroot")] {
            if !self.options.has_option(RDS, name) {
                self.draft.set(path, string(value));
            }
        }
        self.draft.set("database.name", string("ebdb"));
        let advice = "choose postgres, mysql or mariadb, or leave the database to the boot document";
        self.take((RDS, "DBEngine"), "database.engine", |text| ENGINES.contains(&text).then(|| string(text)), advice);
        let advice = "write the class in `database.class`";
        self.take((RDS, "DBInstanceClass"), "database.class", |text| text.starts_with("db.").then(|| string(text)), advice);
        let snapshot = |text: &str| Some(map([("snapshot", string(text))]).value);
        self.take((RDS, "DBSnapshotIdentifier"), "database.restore_from", snapshot, "name the snapshot in `database.restore_from`");
        let advice = "write 20 to 65536 in `database.storage_gib`";
        self.take((RDS, "DBAllocatedStorage"), "database.storage_gib", |text| whole(text, 20, 65536), advice);
        self.take((RDS, "DBUser"), "database.user", |text| Some(string(text)), "write the master user in `database.user`");
        let is_true = |text: &str| boolean(text).map(|is| Value::Bool(is, if is { "true" } else { "false" }));
        self.take((RDS, "MultiAZDatabase"), "database.multi_az", is_true, "write true or false in `database.multi_az`");
        let advice =
            "the stack of Elastic Beanstalk keeps the former database: decouple it, take a snapshot, and name that in `restore_from`";
        self.notes.push(advice.into());
    }
}
