"""From a model and its data to bundles: recipe, stages, judgement, assembly."""
