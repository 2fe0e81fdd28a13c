//! Server State Regions.
#![no_std]
