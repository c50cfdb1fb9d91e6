"""The work itself, from file to tuned model; knows neither the page nor where things are kept."""
