//! The walls of the house: which package may know which.
