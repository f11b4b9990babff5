"""From a calculator and start structures to a verified model: sample, label, train, run until a committee disagrees."""
