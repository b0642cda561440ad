//! The host as the front end uses it: real components, real connections, one program for all tests.

mod hostile;
mod instances;
mod loading;
mod outgoing;
mod requests;
mod support;
