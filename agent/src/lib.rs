//! ingot takes an EC2 instance from golden image to serving.
#![allow(dead_code, reason = "skeleton")]

mod address;
mod aws;
mod document;
mod failure;
mod host;
mod text;
