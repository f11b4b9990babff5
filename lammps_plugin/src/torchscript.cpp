// SPDX-License-Identifier: GPL-2.0-or-later
//
// Models as TorchScript archives. The one file that includes torch's headers: they take long to compile.

#include "torchscript.h"

#include "sha256.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/cuda.h>
#include <torch/headeronly/version.h>
#include <torch/script.h>

#include <ATen/Parallel.h>

#include <map>
#include <sstream>

namespace hesspot {
namespace {

/// The line of a torch message that names the cause: the last one of TorchScript's traceback, else the first.
std::string cause(const std::string &message)
{
  std::istringstream lines(message);
  std::string line, first, last;
  while (std::getline(lines, line)) {
    if (line.find_first_not_of(" \t") == std::string::npos) continue;
    if (first.empty()) first = line;
    last = line;
  }
  return first.find("TorchScript interpreter") == std::string::npos ? first : last;
}

template <typename Function> auto with_cause(const std::string &before, Function function)
{
  try {
    return function();
  } catch (const ModelError &) {
    throw;
  } catch (const c10::Error &error) {
    throw ModelError(before + cause(error.what_without_backtrace()));
  } catch (const std::exception &error) {
    throw ModelError(before + cause(error.what()));
  }
}

/// Torch on so many threads while this lives, and on as many as before after it: the number is the whole process's.
class Threads {
 public:
  explicit Threads(int count) : before_(at::get_num_threads()) { set(count); }
  ~Threads() { set(before_); }
  Threads(const Threads &) = delete;
  Threads &operator=(const Threads &) = delete;

 private:
  int before_;

  static void set(int count)
  {
    if (at::get_num_threads() != count) at::set_num_threads(count);
  }
};

class TorchScriptModel : public Model {
 public:
  TorchScriptModel(Metadata metadata, torch::jit::Module module, const std::string &name, const Options &options) :
      Model(std::move(metadata.elements), metadata.cutoff, count_members(module, name, options)),
      module_(std::move(module)), name_(name), threads_(options.threads), device_(options.device),
      dtype_(options.precision == Precision::Single ? torch::kFloat32 : torch::kFloat64)
  {
    module_.eval();
    for (auto tensor : module_.parameters()) cast(tensor);
    for (auto tensor : module_.buffers()) cast(tensor);
    for (std::size_t i = 0; i < this->elements().size(); i++) stand_ins_.push_back(static_cast<std::int64_t>(i));
  }

  void evaluate(const EdgeList &edges, std::vector<double> &energies, std::vector<double> &gradient) override
  {
    guarded([&] {
      const auto vectors = vectors_of(edges);
      const auto energy = energies_of("forward", edges, vectors);
      copy(energy.detach(), energies);
      copy(gradient_of(energy.sum(), vectors, false), gradient);
    });
  }

  void hvp(const EdgeList &edges, const std::vector<double> &directions, std::vector<double> &products) override
  {
    guarded([&] {
      const auto vectors = vectors_of(edges);
      const auto gradient = gradient_of(energies_of("forward", edges, vectors).sum(), vectors, true);
      copy(gradient_of((gradient * rows_of_three(directions)).sum(), vectors, false), products);
    });
  }

  void members(const EdgeList &edges, std::vector<double> &energies, std::vector<double> &gradient) override
  {
    guarded([&] {
      const auto vectors = vectors_of(edges);
      const auto energy = energies_of("members", edges, vectors);
      copy(energy.detach(), energies);
      std::vector<torch::Tensor> gradients;
      for (const auto &member : energy.unbind(0)) gradients.push_back(gradient_of(member.sum(), vectors, false, true));
      copy(torch::stack(gradients), gradient);
    });
  }

 private:
  torch::jit::Module module_;
  std::string name_;
  int threads_;
  torch::Device device_;
  torch::Dtype dtype_;
  std::vector<std::int64_t> stand_ins_;

  /// A committee has a method `members`; asked about no atom, it tells how many it has.
  static int count_members(torch::jit::Module &module, const std::string &name, const Options &options)
  {
    const auto method = module.find_method("members");
    if (!method) return 1;
    return with_cause("model " + name + " failed: ", [&] {
      const torch::Device device(options.device);
      const auto none = torch::zeros({0}, torch::TensorOptions(torch::kInt64).device(device));
      const auto vectors = torch::zeros({0, 3}, torch::TensorOptions(torch::kFloat64).device(device));
      const auto energies = (*method)({none, none, none, vectors}).toTensor();
      if (energies.dim() != 2)
        throw ModelError("method members of model " + name + " does not return one row per member; correct it");
      return static_cast<int>(energies.size(0));
    });
  }

  void cast(torch::Tensor &tensor) const
  {
    tensor.requires_grad_(false);
    if (tensor.is_floating_point()) tensor.set_data(tensor.data().to(dtype_));
  }

  /// Runs an evaluation without the profiling executor, which stalls, and has failed in double backward, when the
  /// shapes of its input change from call to call (pytorch issues 49764, 54133).
  template <typename Function> void guarded(Function function)
  {
    const Threads threads(threads_);
    const torch::jit::GraphOptimizerEnabledGuard no_profiling(false);
    const torch::AutoGradMode with_gradients(true);
    with_cause("model " + name_ + " failed: ", function);
  }

  torch::Tensor integers(std::vector<std::int64_t> values) const
  {
    return torch::tensor(values, torch::kInt64).to(device_);
  }

  torch::Tensor rows_of_three(const std::vector<double> &values) const
  {
    const auto rows = static_cast<std::int64_t>(values.size() / 3);
    const auto view = torch::from_blob(const_cast<double *>(values.data()), {rows, 3}, torch::kFloat64);
    return view.to(torch::TensorOptions(dtype_).device(device_), false, true);
  }

  torch::Tensor vectors_of(const EdgeList &edges) const { return rows_of_three(edges.vectors).requires_grad_(true); }

  /// Energies of the centres by one of the module's methods; the last dimension is that of the centres. Behind the
  /// centres the model is given one atom per element, without edges, which stands for all neighbours of that element.
  torch::Tensor energies_of(const std::string &method, const EdgeList &edges, const torch::Tensor &vectors)
  {
    const auto n_centers = static_cast<std::int64_t>(edges.n_centers());
    auto species = edges.species;
    species.insert(species.end(), stand_ins_.begin(), stand_ins_.end());
    auto neighbors = edges.neighbor_species;
    for (auto &neighbor : neighbors) neighbor += n_centers;
    const auto n_atoms = static_cast<std::int64_t>(species.size());
    const auto energies = module_
                              .get_method(method)({integers(std::move(species)), integers(edges.centers),
                                                   integers(std::move(neighbors)), vectors})
                              .toTensor();
    if (energies.dim() != (method == "members" ? 2 : 1) || energies.size(-1) != n_atoms)
      throw ModelError("model " + name_ +
                       " does not return one energy per atom; export it again with `hesspot export`");
    return energies.narrow(-1, 0, n_centers).to(torch::kFloat64);
  }

  static torch::Tensor gradient_of(const torch::Tensor &value, const torch::Tensor &vectors, bool create_graph,
                                   bool again = false)
  {
    if (vectors.size(0) == 0) return torch::zeros_like(vectors);
    return torch::autograd::grad({value}, {vectors}, {}, create_graph || again, create_graph)[0];
  }

  static void copy(const torch::Tensor &tensor, std::vector<double> &values)
  {
    const auto plain = tensor.to(torch::TensorOptions(torch::kFloat64).device(torch::kCPU)).contiguous();
    values.assign(plain.data_ptr<double>(), plain.data_ptr<double>() + plain.numel());
  }
};

/// As Python prints it in the hash of format 1.
std::string text_of(const torch::Tensor &tensor)
{
  std::string type = c10::toString(tensor.scalar_type());
  if (type == "Double") type = "float64";
  if (type == "Float") type = "float32";
  if (type == "Long") type = "int64";
  if (type == "Int") type = "int32";
  if (type == "Bool") type = "bool";
  std::string shape;
  for (const auto size : tensor.sizes()) shape += (shape.empty() ? "" : ", ") + std::to_string(size);
  return "torch." + type + " (" + shape + (tensor.dim() == 1 ? "," : "") + ")";
}

/// The hash that files of format 1 have of their weights.
std::string weights_hash(const torch::jit::Module &module)
{
  std::map<std::string, torch::Tensor> state;
  for (const auto &entry : module.named_parameters()) state[entry.name] = entry.value;
  for (const auto &entry : module.named_buffers()) state[entry.name] = entry.value;
  Sha256 hash;
  for (const auto &[name, value] : state) {
    const auto plain = value.detach().cpu().contiguous();
    hash.add(name + " " + text_of(plain) + "\n");
    hash.add({static_cast<const char *>(plain.data_ptr()), plain.nbytes()});
  }
  return hash.digest();
}

std::unique_ptr<Model> load(const ModelFile &file, const Options &options)
{
  const auto &name = file.name();
  const auto &metadata = file.metadata();
  auto module = with_cause("model file " + name + " cannot be read by torch " TORCH_VERSION ": ", [&] {
    std::istringstream stream(file.content());
    return torch::jit::load(stream, torch::Device(options.device));
  });
  const ModelError changed("the TorchScript in model file " + name + " does not match what its " + METADATA_NAME +
                           " says: the file was changed; export it again with `hesspot export`");
  if (metadata.format_version == 1 && weights_hash(module) != metadata.weights_sha256) throw changed;
  with_cause("model file " + name + ": ", [&] {
    std::vector<std::string> elements;
    for (const auto &element : module.attr("elements").toListRef()) elements.push_back(element.toStringRef());
    if (elements != metadata.elements || module.attr("cutoff").toScalar().toDouble() != metadata.cutoff) throw changed;
  });
  return std::make_unique<TorchScriptModel>(metadata, std::move(module), name, options);
}

int count_cuda_devices()
{
  return static_cast<int>(torch::cuda::device_count());
}

}  // namespace
}  // namespace hesspot

extern "C" const hesspot::TorchScript *hesspot_torchscript()
{
  static constexpr hesspot::TorchScript backend = {hesspot::load, hesspot::count_cuda_devices};
  return &backend;
}
