"""recurlab: a laboratory for recurrent networks."""
