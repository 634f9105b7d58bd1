//! What is to be backed up, kept, copied and drilled, and whether it is: pure functions of facts,
//! rules and the time.

pub mod calendar;
