"""What tests of Jobmon, of site plugins and of workflows can use: shipped, so that they need not write it again."""
